// Chunks and the places of their memory records in SQL. A row here is the only thing that makes a
// record visible.
//
// Threads: as Connection. Writing functions belong inside a Transaction.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "alluvium/memory_bank/store.h"
#include "segment_files.h"
#include "sqlite.h"

namespace alluvium::memory_bank {

struct MemoryRow {
  int64_t chunk_row = 0;
  Digest fingerprint{};
  RecordPlace place;
  MemoryOrigin origin;  ///< written; not read back
};

std::vector<ChunkRow> select_chunks(Connection& connection, int64_t document_row);
/// Chunks that have no memory under any of `fingerprints`.
std::vector<ChunkRow> select_chunks_without_memory(Connection& connection,
                                                   std::span<const Digest> fingerprints,
                                                   int64_t after_row, int64_t limit);
std::vector<ChunkRow> select_chunks_not_made_for(Connection& connection, const Digest& aim,
                                                 int64_t after_row, int64_t limit);

/// Memories under any of `fingerprints`.
int64_t count_memories(Connection& connection, std::span<const Digest> fingerprints);
std::vector<double> select_quality_gaps(Connection& connection, const Digest& fingerprint,
                                        int64_t limit);
/// Everything but the size of the segment files.
MemoryStatistics select_memory_statistics(Connection& connection, const Digest& aim);

/// Tokens of a chunk; nothing when it vanished.
std::optional<std::vector<backbone::TokenId>> select_tokens(Connection& connection,
                                                            int64_t chunk_row);

std::optional<MemoryRow> select_memory(Connection& connection, int64_t chunk_row);

/// Live records of one segment in file order, or of all segments for 0.
std::vector<MemoryRow> select_memories(Connection& connection, int64_t segment);

/// Makes a record the memory of its chunk, in place of an older one. Nothing happens when the chunk
/// vanished.
void put_memory(Connection& connection, const MemoryRow& memory);

/// Names the new place of a record, when the row still names `from`.
void move_memory(Connection& connection, int64_t chunk_row, const RecordPlace& from,
                 const RecordPlace& to);

/// Makes a record invisible, when the row still names it.
void drop_memory(Connection& connection, const MemoryRow& memory);

/// Where the last live record of each segment ends.
std::map<int64_t, uint64_t> select_live_ends(Connection& connection);

/// Bytes of live records of each segment, padding included.
std::map<int64_t, uint64_t> select_live_bytes(Connection& connection);

}  // namespace alluvium::memory_bank
