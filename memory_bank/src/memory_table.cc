#include "memory_table.h"

#include <algorithm>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

constexpr const char* kSelectMemory =
    "SELECT chunk_row, fingerprint, segment, record_offset, record_bytes FROM memory ";

std::vector<ChunkRow> read_chunks(Statement& select) {
  std::vector<ChunkRow> rows;
  while (select.step()) {
    ChunkRow row;
    row.row = select.integer(0);
    row.document_row = select.integer(1);
    row.part = select.integer(2);
    row.chunk.begin = static_cast<std::size_t>(select.integer(3));
    row.chunk.end = static_cast<std::size_t>(select.integer(4));
    row.chunk.tokens = select.array<backbone::TokenId>(5);
    rows.push_back(std::move(row));
  }
  return rows;
}

MemoryRow read_memory(const Statement& row) {
  MemoryRow memory;
  memory.chunk_row = row.integer(0);
  const auto fingerprint = row.array<uint8_t>(1);
  // A fingerprint of another size fits no model and stays all zero.
  if (fingerprint.size() == memory.fingerprint.size()) {
    std::copy(fingerprint.begin(), fingerprint.end(), memory.fingerprint.begin());
  }
  memory.place = {row.integer(2), static_cast<uint64_t>(row.integer(3)),
                  static_cast<uint64_t>(row.integer(4))};
  return memory;
}

std::map<int64_t, uint64_t> read_map(Statement& select) {
  std::map<int64_t, uint64_t> map;
  while (select.step()) {
    map[select.integer(0)] = static_cast<uint64_t>(select.integer(1));
  }
  return map;
}

}  // namespace

std::vector<ChunkRow> select_chunks(Connection& connection, int64_t document_row) {
  Statement select(connection,
                   "SELECT chunk_row, document_row, part, begin_byte, end_byte, tokens FROM chunk "
                   "WHERE document_row = ? ORDER BY part");
  return read_chunks(select.bind(document_row));
}

std::vector<ChunkRow> select_chunks_without_memory(Connection& connection,
                                                   const Digest& fingerprint, int64_t after_row,
                                                   int64_t limit) {
  Statement select(connection,
                   "SELECT c.chunk_row, c.document_row, c.part, c.begin_byte, c.end_byte, c.tokens "
                   "FROM chunk c LEFT JOIN memory m ON m.chunk_row = c.chunk_row "
                   "AND m.fingerprint = ? WHERE c.chunk_row > ? AND m.chunk_row IS NULL "
                   "ORDER BY c.chunk_row LIMIT ?");
  return read_chunks(select.bind(bytes_of(fingerprint), after_row, limit));
}

std::optional<std::vector<backbone::TokenId>> select_tokens(Connection& connection,
                                                            int64_t chunk_row) {
  Statement select(connection, "SELECT tokens FROM chunk WHERE chunk_row = ?");
  select.bind(chunk_row);
  return select.step() ? std::optional(select.array<backbone::TokenId>(0)) : std::nullopt;
}

std::optional<MemoryRow> select_memory(Connection& connection, int64_t chunk_row) {
  const std::string sql = std::string(kSelectMemory) + "WHERE chunk_row = ?";
  Statement select(connection, sql.c_str());
  select.bind(chunk_row);
  return select.step() ? std::optional(read_memory(select)) : std::nullopt;
}

std::vector<MemoryRow> select_memories(Connection& connection, int64_t segment) {
  const std::string sql =
      std::string(kSelectMemory) + "WHERE ?1 = 0 OR segment = ?1 ORDER BY segment, record_offset";
  Statement select(connection, sql.c_str());
  select.bind(segment);
  std::vector<MemoryRow> memories;
  while (select.step()) {
    memories.push_back(read_memory(select));
  }
  return memories;
}

void put_memory(Connection& connection, const MemoryRow& memory) {
  Statement(connection,
            "INSERT OR REPLACE INTO memory(chunk_row, fingerprint, segment, record_offset, "
            "record_bytes) SELECT chunk_row, ?, ?, ?, ? FROM chunk WHERE chunk_row = ?")
      .bind(bytes_of(memory.fingerprint), memory.place.segment,
            static_cast<int64_t>(memory.place.offset), static_cast<int64_t>(memory.place.bytes),
            memory.chunk_row)
      .run();
}

void move_memory(Connection& connection, int64_t chunk_row, const RecordPlace& from,
                 const RecordPlace& to) {
  Statement(connection,
            "UPDATE memory SET segment = ?, record_offset = ? "
            "WHERE chunk_row = ? AND segment = ? AND record_offset = ?")
      .bind(to.segment, static_cast<int64_t>(to.offset), chunk_row, from.segment,
            static_cast<int64_t>(from.offset))
      .run();
}

void drop_memory(Connection& connection, const MemoryRow& memory) {
  Statement(connection,
            "DELETE FROM memory WHERE chunk_row = ? AND segment = ? AND record_offset = ?")
      .bind(memory.chunk_row, memory.place.segment, static_cast<int64_t>(memory.place.offset))
      .run();
}

std::map<int64_t, uint64_t> select_live_ends(Connection& connection) {
  Statement select(
      connection, "SELECT segment, max(record_offset + record_bytes) FROM memory GROUP BY segment");
  return read_map(select);
}

std::map<int64_t, uint64_t> select_live_bytes(Connection& connection) {
  static_assert(SegmentFiles::kAlignment == 64);
  Statement select(
      connection,
      "SELECT segment, sum((record_bytes + 63) / 64 * 64) FROM memory GROUP BY segment");
  return read_map(select);
}

}  // namespace alluvium::memory_bank
