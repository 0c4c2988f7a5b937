// The part of SqliteStore that counts, compacts and verifies.
#include <algorithm>
#include <filesystem>
#include <map>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_record.h"
#include "log_table.h"
#include "sqlite_store.h"

namespace alluvium::memory_bank {
namespace {

// Pages of full-text index merged while the write connection is held.
constexpr const char* kMergeStep =
    "INSERT INTO document_text(document_text, rank) VALUES ('merge', 256)";
constexpr const char* kMergeAll =
    "INSERT INTO document_text(document_text, rank) VALUES ('merge', -256)";

// Of emptying a full segment: who appends waits for one of them at most.
constexpr std::size_t kRoundsOfASegment = 64;

int64_t count(Connection& connection, const char* sql) {
  Statement statement(connection, sql);
  statement.step();
  return statement.integer(0);
}

int64_t file_bytes(const std::string& path) {
  std::error_code missing;
  const auto bytes = std::filesystem::file_size(path, missing);
  return missing ? 0 : static_cast<int64_t>(bytes);
}

}  // namespace

StoreCounts SqliteStore::counts(const Digest& fingerprint) {
  const auto reader = readers_.lease();
  StoreCounts counts;
  counts.documents = count(*reader, "SELECT count(*) FROM document");
  counts.chunks = count(*reader, "SELECT count(*) FROM chunk");
  counts.memories = count_memories(*reader, members_of(fingerprint));
  counts.stale_memories = counts.chunks - counts.memories;
  counts.keys = count(*reader, "SELECT ifnull(sum(key_count), 0) FROM retrieval_key");
  counts.tombstones = count(*reader, "SELECT count(*) FROM tombstone");
  counts.dead_letters = count(*reader, "SELECT count(*) FROM dead_letter");
  counts.held_documents = count(*reader, "SELECT count(*) FROM held_document");
  counts.memory_bytes = sum_record_bytes(*reader);
  const LogPosition position = select_log_position(*reader);
  counts.logged_offset = position.logged;
  counts.applied_offset = position.applied;
  counts.pending = position.pending;
  const std::string path = directory_ + "/alluvium.db";
  counts.database_bytes = file_bytes(path) + file_bytes(path + "-wal");
  return counts;
}

int64_t SqliteStore::compact(double min_live_share) {
  ALLUVIUM_CHECK(min_live_share >= 0 && min_live_share <= 1,
                 "min_live_share must lie in [0, 1], got {}", min_live_share);
  ALLUVIUM_CHECK(writer_ != nullptr, "the store {} is open for reading only", directory_);
  int64_t freed = 0;
  for (const auto& [segment, bytes] : segments_.sizes()) {
    auto live_bytes = select_live_bytes(*readers_.lease());
    const uint64_t used = bytes - SegmentFiles::kHeaderBytes;
    const uint64_t live = live_bytes[segment];
    if (live < used && static_cast<double>(live) <= min_live_share * static_cast<double>(used)) {
      while (move_records(segment, freed)) {
      }
    }
  }
  compact_database();
  return freed;
}

std::map<uint64_t, std::vector<std::byte>> SqliteStore::read_first_records(int64_t segment) {
  const std::size_t most = std::max<std::size_t>(options_.segment_bytes / kRoundsOfASegment, 1);
  std::map<uint64_t, std::vector<std::byte>> records;
  std::size_t bytes = 0;
  for (const MemoryRow& memory : select_memories(*readers_.lease(), segment)) {
    const auto [record, first] = records.try_emplace(memory.place.offset);
    if (!first) {
      continue;  // chunks of equal text name one record
    }
    // Bytes are copied as they are: a damaged record stays damaged and is found when it is loaded.
    // One whose bytes are gone stays empty.
    try {
      record->second = segments_.read(memory.place);
    } catch (const DataCorruption&) {
    }
    bytes += record->second.size();
    if (bytes >= most) {
      break;
    }
  }
  return records;
}

bool SqliteStore::move_records(int64_t segment, int64_t& freed) {
  // Read before the lock is taken, so that who waits to append gets a turn between two rounds.
  const auto records = read_first_records(segment);
  const std::lock_guard lock(segments_mutex_);
  const auto sizes = segments_.sizes();
  const auto size = sizes.find(segment);
  if (size == sizes.end()) {
    return false;  // another compaction has emptied it
  }
  if (segments_.mark().segment == segment) {
    segments_.start_new();
  }
  const std::vector<MemoryRow> live = select_memories(*readers_.lease(), segment);
  if (live.empty()) {
    freed += static_cast<int64_t>(size->second);
    segments_.remove(segment);
    return false;
  }
  const RecordPlace mark = segments_.mark();
  int64_t kept = 0;
  try {
    std::map<uint64_t, RecordPlace> moved;  // by offset
    for (const MemoryRow& memory : live) {
      const auto record = records.find(memory.place.offset);
      if (record == records.end() || moved.count(memory.place.offset) > 0) {
        continue;  // in another round, or done
      }
      RecordPlace& to = moved[memory.place.offset];
      if (!record->second.empty()) {
        to = segments_.append(record->second);
        kept += static_cast<int64_t>(SegmentFiles::padded(memory.place.bytes));
      }
    }
    segments_.sync();
    write([&](Connection& connection) {
      for (const MemoryRow& memory : live) {
        const auto to = moved.find(memory.place.offset);
        if (to == moved.end()) {
          continue;
        }
        if (to->second.bytes > 0) {
          move_memories(connection, memory.place, to->second);
        } else {
          drop_memory(connection, memory);
        }
      }
    });
  } catch (...) {
    segments_.rewind(mark);
    throw;
  }
  freed -= kept;
  return true;
}

void SqliteStore::compact_database() {
  // The full-text index forgets deleted terms only when its segments merge into one; in steps, so
  // that writers get their turn between.
  bool merging = true;
  for (const char* step = kMergeAll; merging; step = kMergeStep) {
    write([&](Connection& connection) {
      const int64_t before = count(connection, "SELECT total_changes()");
      connection.execute(step);
      merging = count(connection, "SELECT total_changes()") - before >= 2;
    });
  }
  const std::lock_guard lock(writer_mutex_);
  writer_->execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

MemoryStatistics SqliteStore::memory_statistics(const Digest& aim) {
  MemoryStatistics statistics = select_memory_statistics(*readers_.lease(), aim);
  for (const std::string& name : files_.list(directory_ + "/memories")) {
    statistics.segment_bytes += file_bytes(directory_ + "/memories/" + name);
  }
  return statistics;
}

std::string SqliteStore::setting(const std::string& name) {
  const auto reader = readers_.lease();
  Statement select(*reader, "SELECT value FROM setting WHERE name = ?");
  select.bind(name);
  return select.step() ? select.text(0) : std::string();
}

void SqliteStore::set_setting(const std::string& name, const std::string& value) {
  write([&](Connection& connection) {
    Statement(connection, "INSERT OR REPLACE INTO setting(name, value) VALUES (?, ?)")
        .bind(name, value)
        .run();
  });
}

std::vector<std::string> SqliteStore::verify(Damaged damaged) {
  std::vector<std::string> findings;
  verify_database(findings);
  const std::vector<MemoryRow> memories = select_memories(*readers_.lease(), 0);
  for (const MemoryRow& memory : memories) {
    const auto tokens = select_tokens(*readers_.lease(), memory.chunk_row);
    const auto row = select_memory(*readers_.lease(), memory.chunk_row);
    if (!tokens || !row || row->place != memory.place) {
      continue;  // changed since the list was read
    }
    try {
      read_checked(memory, *tokens);
    } catch (const Error& error) {
      const auto now = select_memory(*readers_.lease(), memory.chunk_row);
      if (!now || now->place != memory.place) {
        continue;  // moved or replaced while it was read
      }
      if (damaged == Damaged::discard && writer_ != nullptr) {
        write([&](Connection& connection) { drop_memory(connection, memory); });
      }
      findings.push_back(fmt::format("memories/{:06}.seg at {}: {}", memory.place.segment,
                                     memory.place.offset, error.what()));
    }
  }
  return findings;
}

void SqliteStore::verify_database(std::vector<std::string>& findings) {
  const auto reader = readers_.lease();
  const auto collect = [&](const char* sql, const char* what) {
    try {
      Statement check(*reader, sql);
      while (check.step()) {
        if (check.text(0) != "ok") {
          findings.push_back(fmt::format("alluvium.db: {}: {}", what, check.text(0)));
        }
      }
    } catch (const Error& error) {
      findings.push_back(fmt::format("alluvium.db: {}: {}", what, error.what()));
    }
  };
  collect("PRAGMA integrity_check", "pages");
  collect("PRAGMA foreign_key_check", "a row without its parent in table");
  collect(
      "SELECT document_row FROM retrieval_key WHERE length(vectors) <> 4 * dimension * key_count",
      "keys of a wrong size, document row");
  collect("SELECT chunk_row FROM chunk WHERE length(tokens) <> 4 * token_count",
          "tokens of a wrong size, chunk row");
  if (writer_ == nullptr) {
    return;
  }
  try {
    write([](Connection& connection) {
      connection.execute(
          "INSERT INTO document_text(document_text, rank) VALUES ('integrity-check', 1)");
    });
  } catch (const Error& error) {
    findings.push_back(fmt::format("alluvium.db: full-text index: {}", error.what()));
  }
}

}  // namespace alluvium::memory_bank
