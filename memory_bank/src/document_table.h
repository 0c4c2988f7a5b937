// Documents, their chunks, keys and tombstones in SQL. Full text follows the document table by
// triggers.
//
// Threads: as Connection. Writing functions belong inside a Transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "alluvium/memory_bank/store.h"
#include "sqlite.h"

namespace alluvium::memory_bank {

/// Stores the deposit's document, chunks and keys; a document of the same name keeps its row, and
/// its chunks and memories go. Returns the chunk rows in order; nothing when the version is not
/// above the stored one and the tombstone's.
std::optional<std::vector<int64_t>> put_document(Connection& connection, const Deposit& deposit,
                                                 int64_t now_us);

/// Removes the document unless it is newer than `version` (0 = any) and raises the tombstone.
/// Returns the row removed, or 0.
int64_t erase_document(Connection& connection, const std::string& name_space, const std::string& id,
                       uint64_t version);

/// The highest version stored or erased; 0 when there was none.
uint64_t select_newest_version(Connection& connection, const std::string& name_space,
                               const std::string& id);

std::optional<int64_t> select_row(Connection& connection, const std::string& name_space,
                                  const std::string& id);
std::optional<DocumentSummary> select_summary(Connection& connection, int64_t document_row);
std::optional<Document> select_document(Connection& connection, int64_t document_row);
std::vector<DocumentSummary> select_documents(Connection& connection, const std::string& name_space,
                                              const std::string& after_id, int64_t limit);

void replace_keys(Connection& connection, int64_t document_row, const Digest& encoder,
                  std::span<const float> keys, int64_t dimension);
void visit_keys(Connection& connection, const Digest& encoder,
                const std::function<void(const DocumentKeys&)>& visit);
std::vector<int64_t> select_without_keys(Connection& connection, const Digest& encoder,
                                         int64_t after_row, int64_t limit);

}  // namespace alluvium::memory_bank
