#include "memory_table.h"

#include <algorithm>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

constexpr const char* kSelectMemory =
    "SELECT chunk_row, fingerprint, segment, record_offset, record_bytes FROM memory ";

constexpr const char* kJoinMemories =
    "SELECT c.chunk_row, c.document_row, c.part, c.begin_byte, c.end_byte, c.tokens "
    "FROM chunk c LEFT JOIN memory m ON m.chunk_row = c.chunk_row";

// Chunks of equal text name one record.
constexpr const char* kRecords =
    "(SELECT DISTINCT segment, record_offset, record_bytes FROM memory)";

/// Digests as a list of SQL literals.
std::string literals(std::span<const Digest> digests) {
  std::vector<std::string> words;
  for (const Digest& digest : digests) {
    words.push_back(fmt::format("x'{}'", to_hex(digest)));
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

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
                                                   std::span<const Digest> fingerprints,
                                                   int64_t after_row, int64_t limit) {
  const std::string sql = fmt::format(
      "{} AND m.fingerprint IN ({}) WHERE c.chunk_row > ? AND m.chunk_row IS NULL "
      "ORDER BY c.chunk_row LIMIT ?",
      kJoinMemories, literals(fingerprints));
  Statement select(connection, sql.c_str());
  return read_chunks(select.bind(after_row, limit));
}

std::vector<ChunkRow> select_chunks_not_made_for(Connection& connection, const Digest& aim,
                                                 int64_t after_row, int64_t limit) {
  const std::string sql = fmt::format(
      "{} AND m.aim = ? WHERE c.chunk_row > ? AND m.chunk_row IS NULL ORDER BY c.chunk_row LIMIT ?",
      kJoinMemories);
  Statement select(connection, sql.c_str());
  return read_chunks(select.bind(bytes_of(aim), after_row, limit));
}

int64_t count_memories(Connection& connection, std::span<const Digest> fingerprints) {
  const std::string sql =
      fmt::format("SELECT count(*) FROM memory WHERE fingerprint IN ({})", literals(fingerprints));
  Statement select(connection, sql.c_str());
  select.step();
  return select.integer(0);
}

std::vector<double> select_quality_gaps(Connection& connection, const Digest& fingerprint,
                                        int64_t limit) {
  Statement select(connection,
                   "SELECT quality_gap FROM memory WHERE fingerprint = ? AND quality_gap IS NOT "
                   "NULL ORDER BY chunk_row DESC LIMIT ?");
  select.bind(bytes_of(fingerprint), limit);
  std::vector<double> gaps;
  while (select.step()) {
    gaps.push_back(select.real(0));
  }
  return gaps;
}

MemoryStatistics select_memory_statistics(Connection& connection, const Digest& aim) {
  MemoryStatistics statistics;
  Statement kinds(connection,
                  "SELECT m.preset, count(*), sum(m.aim <> m.fingerprint), sum(c.token_count), "
                  "sum(m.record_bytes * (m.chunk_row = (SELECT min(o.chunk_row) FROM memory o "
                  "WHERE o.segment = m.segment AND o.record_offset = m.record_offset))) "
                  "FROM memory m JOIN chunk c USING (chunk_row) "
                  "GROUP BY m.preset ORDER BY m.preset");
  while (kinds.step()) {
    const MemoryKind& kind = statistics.kinds.emplace_back(MemoryKind{
        kinds.text(0), kinds.integer(1), kinds.integer(2), kinds.integer(3), kinds.integer(4)});
    statistics.memories += kind.memories;
    statistics.tokens += kind.tokens;
    statistics.bytes += kind.bytes;
  }
  Statement gaps(connection,
                 "SELECT quality_gap FROM memory WHERE quality_gap IS NOT NULL ORDER BY 1");
  while (gaps.step()) {
    statistics.quality_gaps.push_back(gaps.real(0));
  }
  Statement waiting(connection,
                    "SELECT count(*) FROM chunk c LEFT JOIN memory m ON m.chunk_row = c.chunk_row "
                    "AND m.aim = ? WHERE m.chunk_row IS NULL");
  waiting.bind(bytes_of(aim)).step();
  statistics.waiting = waiting.integer(0);
  return statistics;
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

std::optional<MemoryRow> select_equal_memory(Connection& connection, const Digest& fingerprint,
                                             const Digest& document_sha) {
  const std::string sql = std::string(kSelectMemory) +
                          "WHERE fingerprint = ? AND document_sha = ? "
                          "ORDER BY segment DESC, record_offset DESC LIMIT 1";
  Statement select(connection, sql.c_str());
  select.bind(bytes_of(fingerprint), bytes_of(document_sha));
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
            "record_bytes, document_sha, aim, preset, quality_gap) "
            "SELECT chunk_row, ?, ?, ?, ?, ?, ?, ?, CASE WHEN ? THEN ? END "
            "FROM chunk WHERE chunk_row = ?")
      .bind(bytes_of(memory.fingerprint), memory.place.segment,
            static_cast<int64_t>(memory.place.offset), static_cast<int64_t>(memory.place.bytes),
            bytes_of(memory.document_sha),
            bytes_of(memory.origin.aim == Digest{} ? memory.fingerprint : memory.origin.aim),
            memory.origin.preset, int64_t{memory.origin.quality_gap.has_value() ? 1 : 0},
            memory.origin.quality_gap.value_or(0.0), memory.chunk_row)
      .run();
}

void move_memories(Connection& connection, const RecordPlace& from, const RecordPlace& to) {
  Statement(connection,
            "UPDATE memory SET segment = ?, record_offset = ? "
            "WHERE segment = ? AND record_offset = ?")
      .bind(to.segment, static_cast<int64_t>(to.offset), from.segment,
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
  const std::string sql = fmt::format(
      "SELECT segment, sum((record_bytes + 63) / 64 * 64) FROM {} GROUP BY segment", kRecords);
  Statement select(connection, sql.c_str());
  return read_map(select);
}

int64_t sum_record_bytes(Connection& connection) {
  const std::string sql = fmt::format("SELECT ifnull(sum(record_bytes), 0) FROM {}", kRecords);
  Statement select(connection, sql.c_str());
  select.step();
  return select.integer(0);
}

}  // namespace alluvium::memory_bank
