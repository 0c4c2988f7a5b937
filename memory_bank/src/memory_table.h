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
  Digest document_sha{};  ///< of the chunk's tokens, as in the record; written, not read back
  MemoryOrigin origin;    ///< likewise
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

/// The newest of the live records that hold the tokens of this hash under this fingerprint.
std::optional<MemoryRow> select_equal_memory(Connection& connection, const Digest& fingerprint,
                                             const Digest& document_sha);

/// Live records of one segment in file order, or of all segments for 0.
std::vector<MemoryRow> select_memories(Connection& connection, int64_t segment);

/// Makes a record the memory of its chunk, in place of an older one. Nothing happens when the chunk
/// vanished.
void put_memory(Connection& connection, const MemoryRow& memory);

/// Names the new place of a record in every row that names `from`.
void move_memories(Connection& connection, const RecordPlace& from, const RecordPlace& to);

/// Makes a record invisible, when the row still names it.
void drop_memory(Connection& connection, const MemoryRow& memory);

/// Where the last live record of each segment ends.
std::map<int64_t, uint64_t> select_live_ends(Connection& connection);

/// Bytes of live records of each segment, padding included.
std::map<int64_t, uint64_t> select_live_bytes(Connection& connection);

/// Bytes of all live records.
int64_t sum_record_bytes(Connection& connection);

}  // namespace alluvium::memory_bank
