// The part of SqliteStore that reads, adds and checks memories.
#include <algorithm>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_record.h"
#include "sqlite_store.h"

namespace alluvium::memory_bank {
namespace {

// Compaction may move a record between reading its row and reading its bytes; it moves a record
// once a round.
constexpr int kLoadAttempts = 3;

}  // namespace

void SqliteStore::set_family(const Digest& family, std::vector<Digest> members) {
  const std::lock_guard lock(families_mutex_);
  families_[family] = std::move(members);
}

std::vector<Digest> SqliteStore::members_of(const Digest& fingerprint) const {
  const std::lock_guard lock(families_mutex_);
  const auto found = families_.find(fingerprint);
  return found == families_.end() ? std::vector<Digest>{fingerprint} : found->second;
}

std::vector<ChunkRow> SqliteStore::chunks(int64_t document_row) {
  return select_chunks(*readers_.lease(), document_row);
}

std::vector<ChunkRow> SqliteStore::chunks_without_memory(const Digest& fingerprint,
                                                         int64_t after_row, int64_t limit) {
  return select_chunks_without_memory(*readers_.lease(), members_of(fingerprint), after_row, limit);
}

std::vector<ChunkRow> SqliteStore::chunks_not_made_for(const Digest& aim, int64_t after_row,
                                                       int64_t limit) {
  return select_chunks_not_made_for(*readers_.lease(), aim, after_row, limit);
}

std::vector<double> SqliteStore::quality_gaps(const Digest& fingerprint, int64_t limit) {
  return select_quality_gaps(*readers_.lease(), fingerprint, limit);
}

Memory SqliteStore::read_checked(const MemoryRow& row,
                                 const std::vector<backbone::TokenId>& tokens) const {
  Memory memory = decode_record(segments_.read(row.place), options_.basis.get());
  const auto require = [&](bool condition, const char* what) {
    if (!condition) {
      throw DataCorruption(fmt::format("memory record of chunk {}: {}", row.chunk_row, what));
    }
  };
  require(memory.fingerprint == row.fingerprint, "its fingerprint is not the row's");
  require(memory.document_sha == hash_tokens(memory.tokens), "its token hash does not match");
  require(memory.tokens == tokens, "it holds another text");
  return memory;
}

std::optional<RecordPlace> SqliteStore::find_equal(const Memory& memory) {
  const auto row = select_equal_memory(*readers_.lease(), memory.fingerprint, memory.document_sha);
  if (!row) {
    return std::nullopt;
  }
  try {
    read_checked(*row, memory.tokens);
    return row->place;
  } catch (const DataCorruption&) {
    return std::nullopt;  // found when its own chunk is asked for
  } catch (const NotSupported&) {
    return std::nullopt;
  }
}

std::shared_ptr<const Memory> SqliteStore::load_memory(int64_t chunk_row,
                                                       const Digest& fingerprint) {
  const std::vector<Digest> members = members_of(fingerprint);
  std::optional<MemoryRow> failed;
  for (int attempt = 0; attempt < kLoadAttempts; ++attempt) {
    std::optional<MemoryRow> row;
    std::optional<std::vector<backbone::TokenId>> tokens;
    {
      const auto reader = readers_.lease();
      row = select_memory(*reader, chunk_row);
      tokens = select_tokens(*reader, chunk_row);
    }
    if (!row || !tokens ||
        std::find(members.begin(), members.end(), row->fingerprint) == members.end()) {
      return nullptr;
    }
    if (failed && failed->place == row->place) {
      break;  // not moved meanwhile: the record itself is bad
    }
    try {
      Memory memory = read_checked(*row, *tokens);
      memory.fingerprint = fingerprint;
      return std::make_shared<const Memory>(std::move(memory));
    } catch (const DataCorruption&) {
      failed = row;
    } catch (const NotSupported&) {
      failed = row;
    }
  }
  if (writer_ != nullptr && failed) {
    write([&](Connection& connection) { drop_memory(connection, *failed); });
  }
  return nullptr;
}

void SqliteStore::add_memories(std::span<const int64_t> chunk_rows,
                               std::span<const Memory> memories) {
  ALLUVIUM_CHECK(chunk_rows.size() == memories.size(), "{} chunk rows and {} memories",
                 chunk_rows.size(), memories.size());
  std::vector<const Memory*> records;
  for (const Memory& memory : memories) {
    records.push_back(&memory);
  }
  write_with_records(records, [&](Connection& connection, std::span<const RecordPlace> places) {
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (places[i].bytes > 0) {
        put_memory(connection, {chunk_rows[i], records[i]->fingerprint, places[i],
                                records[i]->document_sha, records[i]->origin});
      }
    }
  });
}

}  // namespace alluvium::memory_bank
