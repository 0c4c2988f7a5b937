// Input that could not become a document, in SQL.
//
// Threads: as Connection.
#pragma once

#include <cstdint>
#include <vector>

#include "alluvium/memory_bank/store.h"
#include "sqlite.h"

namespace alluvium::memory_bank {

/// Keeps the first 4,096 bytes of the content, cut between characters.
void insert_dead_letter(Connection& connection, const DeadLetter& letter);

/// Newest first.
std::vector<DeadLetter> select_dead_letters(Connection& connection, int64_t limit);

}  // namespace alluvium::memory_bank
