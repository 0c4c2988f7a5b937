#include "sqlite_store.h"

#include <algorithm>
#include <map>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_record.h"
#include "dead_letter_table.h"
#include "document_table.h"
#include "held_table.h"
#include "lexical_search.h"
#include "log_table.h"
#include "schema.h"

namespace alluvium::memory_bank {
namespace {

std::string database_path(const std::string& directory) { return directory + "/alluvium.db"; }

void check_deposit(const Deposit& deposit) {
  ALLUVIUM_CHECK(deposit.memories.empty() || deposit.memories.size() == deposit.chunks.size(),
                 "document '{}' has {} chunks and {} memories", deposit.document.id,
                 deposit.chunks.size(), deposit.memories.size());
  ALLUVIUM_CHECK(deposit.keys.empty() ||
                     (deposit.key_dimension > 0 &&
                      static_cast<int64_t>(deposit.keys.size()) % deposit.key_dimension == 0),
                 "document '{}' has {} key values, no multiple of the dimension {}",
                 deposit.document.id, deposit.keys.size(), deposit.key_dimension);
}

}  // namespace

std::unique_ptr<Store> Store::open(const std::string& directory, const StoreOptions& options) {
  return std::make_unique<SqliteStore>(directory, options, StoreSeams{});
}

SqliteStore::SqliteStore(const std::string& directory, const StoreOptions& options,
                         const StoreSeams& seams)
    : directory_(directory),
      options_(options),
      clock_(options.clock != nullptr ? *options.clock : system_clock_),
      files_(seams.files != nullptr ? *seams.files : real_file_system()),
      readers_(database_path(directory)),
      segments_(files_, directory + "/memories", options.segment_bytes) {
  if (options.read_only) {
    const auto reader = readers_.lease();
    require_schema(*reader);
    return;
  }
  files_.make_directory(directory);
  lock_ = std::make_unique<DirectoryLock>(directory);
  writer_ = std::make_unique<Connection>(database_path(directory), DatabaseAccess::read_write);
  configure_connection(*writer_, DatabaseAccess::read_write);
  migrate(*writer_);
  segments_.recover(select_live_ends(*writer_));
  if (seams.max_database_pages > 0) {
    writer_->execute(fmt::format("PRAGMA max_page_count = {}", seams.max_database_pages).c_str());
  }
}

void SqliteStore::write(const std::function<void(Connection&)>& body) {
  ALLUVIUM_CHECK(writer_ != nullptr, "the store {} is open for reading only", directory_);
  const std::lock_guard lock(writer_mutex_);
  Transaction transaction(*writer_);
  body(*writer_);
  transaction.commit();
}

std::vector<RecordPlace> SqliteStore::append_records(std::span<const Memory* const> memories) {
  std::vector<RecordPlace> places;
  std::map<std::pair<Digest, Digest>, RecordPlace> appended;
  for (const Memory* memory : memories) {
    if (memory == nullptr || !memory->keys.defined()) {
      places.emplace_back();
      continue;
    }
    const std::pair text(memory->fingerprint, memory->document_sha);
    if (const auto found = appended.find(text); found != appended.end()) {
      places.push_back(found->second);
    } else if (const auto equal = find_equal(*memory)) {
      places.push_back(*equal);
    } else {
      places.push_back(segments_.append(encode_record(*memory)));
      appended[text] = places.back();
    }
  }
  if (!appended.empty()) {
    segments_.sync();
  }
  return places;
}

void SqliteStore::write_with_records(
    std::span<const Memory* const> memories,
    const std::function<void(Connection&, std::span<const RecordPlace>)>& body) {
  ALLUVIUM_CHECK(writer_ != nullptr, "the store {} is open for reading only", directory_);
  const std::lock_guard lock(segments_mutex_);
  const RecordPlace mark = segments_.mark();
  try {
    const std::vector<RecordPlace> places = append_records(memories);
    write([&](Connection& connection) { body(connection, places); });
  } catch (...) {
    segments_.rewind(mark);
    throw;
  }
}

// ---- Ingest log

std::vector<int64_t> SqliteStore::append_log(std::span<const LogEntry> entries) {
  std::vector<int64_t> offsets;
  write(
      [&](Connection& connection) { offsets = insert_log(connection, entries, clock_.wall_us()); });
  return offsets;
}

std::vector<LogEntry> SqliteStore::pending_log(int64_t after, int64_t limit) {
  return select_pending(*readers_.lease(), after, limit);
}

uint64_t SqliteStore::last_sequence(const std::string& session) {
  return select_last_sequence(*readers_.lease(), session);
}

// ---- Documents

std::vector<CommitOutcome> SqliteStore::commit(std::span<const Deposit> deposits) {
  std::vector<const Memory*> memories;
  for (const Deposit& deposit : deposits) {
    check_deposit(deposit);
    for (std::size_t part = 0; part < deposit.chunks.size(); ++part) {
      memories.push_back(deposit.memories.empty() ? nullptr : &deposit.memories[part]);
    }
  }
  std::vector<CommitOutcome> outcomes;
  write_with_records(memories, [&](Connection& connection, std::span<const RecordPlace> places) {
    std::size_t next = 0;
    for (const Deposit& deposit : deposits) {
      const std::size_t first = next;
      next += deposit.chunks.size();
      mark_applied(connection, deposit.offset);
      const auto rows = put_document(connection, deposit, clock_.wall_us());
      outcomes.push_back(rows ? CommitOutcome::stored : CommitOutcome::stale);
      if (rows) {
        erase_held(connection, deposit.document.name_space, deposit.document.id,
                   deposit.document.version);
      }
      for (std::size_t part = 0; rows && part < rows->size(); ++part) {
        if (places[first + part].bytes > 0) {
          const Memory& memory = *memories[first + part];
          put_memory(connection, {(*rows)[part], memory.fingerprint, places[first + part],
                                  memory.document_sha, memory.origin});
        }
      }
    }
  });
  return outcomes;
}

bool SqliteStore::erase(const LogEntry& entry, int64_t* removed_row) {
  int64_t removed = 0;
  write([&](Connection& connection) {
    mark_applied(connection, entry.offset);
    removed = erase_document(connection, entry.document.name_space, entry.document.id,
                             entry.document.version);
    erase_held(connection, entry.document.name_space, entry.document.id, entry.document.version);
  });
  if (removed_row != nullptr) {
    *removed_row = removed;
  }
  return removed != 0;
}

void SqliteStore::reject(const LogEntry& entry, const std::string& reason) {
  DeadLetter letter;
  letter.source = entry.session.empty() ? "log" : entry.session;
  letter.line = entry.offset;
  letter.reason = fmt::format("document '{}' of namespace '{}': {}", entry.document.id,
                              entry.document.name_space, reason);
  letter.content = entry.document.text;
  letter.created_us = clock_.wall_us();
  // The log row goes first: on a full disk its pages are what the rest is written to.
  write([&](Connection& connection) {
    mark_applied(connection, entry.offset);
    insert_dead_letter(connection, letter);
  });
}

void SqliteStore::hold_back(const LogEntry& entry, const GateVerdict& verdict) {
  const Document& document = entry.document;
  write([&](Connection& connection) {
    mark_applied(connection, entry.offset);
    if (document.version > select_newest_version(connection, document.name_space, document.id)) {
      insert_held(connection,
                  {.document = document, .verdict = verdict, .created_us = clock_.wall_us()});
    }
  });
}

std::vector<HeldDocument> SqliteStore::held_documents(int64_t limit) {
  return select_held(*readers_.lease(), limit);
}

std::optional<HeldDocument> SqliteStore::held_document(const std::string& name_space,
                                                       const std::string& id) {
  return select_held(*readers_.lease(), name_space, id);
}

std::optional<DocumentSummary> SqliteStore::find(const std::string& name_space,
                                                 const std::string& id) {
  const auto reader = readers_.lease();
  const auto row = select_row(*reader, name_space, id);
  return row ? select_summary(*reader, *row) : std::nullopt;
}

std::optional<Document> SqliteStore::read_document(const std::string& name_space,
                                                   const std::string& id) {
  const auto reader = readers_.lease();
  const auto row = select_row(*reader, name_space, id);
  return row ? select_document(*reader, *row) : std::nullopt;
}

std::optional<DocumentSummary> SqliteStore::summary(int64_t document_row) {
  return select_summary(*readers_.lease(), document_row);
}

std::optional<Document> SqliteStore::read_document(int64_t document_row) {
  return select_document(*readers_.lease(), document_row);
}

std::vector<DocumentSummary> SqliteStore::list(const std::string& name_space,
                                               const std::string& after_id, int64_t limit) {
  return select_documents(*readers_.lease(), name_space, after_id, limit);
}

// ---- Retrieval

std::vector<LexicalHit> SqliteStore::search_text(const std::string& name_space,
                                                 const std::string& query, int64_t limit,
                                                 int64_t as_of_us) {
  return search_documents(*readers_.lease(), name_space, query, limit, as_of_us);
}

void SqliteStore::each_keys(const Digest& encoder,
                            const std::function<void(const DocumentKeys&)>& visit) {
  visit_keys(*readers_.lease(), encoder, visit);
}

std::vector<int64_t> SqliteStore::documents_without_keys(const Digest& encoder, int64_t after_row,
                                                         int64_t limit) {
  return select_without_keys(*readers_.lease(), encoder, after_row, limit);
}

bool SqliteStore::replace_keys(int64_t document_row, const Digest& encoder,
                               std::span<const float> keys, int64_t dimension) {
  ALLUVIUM_CHECK(dimension > 0 && static_cast<int64_t>(keys.size()) % dimension == 0,
                 "{} key values are no multiple of the dimension {}", keys.size(), dimension);
  bool found = false;
  write([&](Connection& connection) {
    found = select_summary(connection, document_row).has_value();
    if (found) {
      memory_bank::replace_keys(connection, document_row, encoder, keys, dimension);
    }
  });
  return found;
}

// ---- Dead letters

void SqliteStore::add_dead_letter(const DeadLetter& letter) {
  DeadLetter stamped = letter;
  if (stamped.created_us == 0) {
    stamped.created_us = clock_.wall_us();
  }
  write([&](Connection& connection) { insert_dead_letter(connection, stamped); });
}

std::vector<DeadLetter> SqliteStore::dead_letters(int64_t limit) {
  return select_dead_letters(*readers_.lease(), limit);
}

}  // namespace alluvium::memory_bank
