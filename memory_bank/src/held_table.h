// Documents that the gate of the stream kept out, in SQL.
//
// Threads: as Connection. Writing functions belong inside a Transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "alluvium/memory_bank/store.h"
#include "sqlite.h"

namespace alluvium::memory_bank {

/// In place of an older version. Nothing happens when a version as high or higher is held.
void insert_held(Connection& connection, const HeldDocument& held);

/// Removes what is held up to `version`; 0 = any.
void erase_held(Connection& connection, const std::string& name_space, const std::string& id,
                uint64_t version);

/// Newest first.
std::vector<HeldDocument> select_held(Connection& connection, int64_t limit);
std::optional<HeldDocument> select_held(Connection& connection, const std::string& name_space,
                                        const std::string& id);

}  // namespace alluvium::memory_bank
