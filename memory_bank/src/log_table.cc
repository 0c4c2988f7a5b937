#include "log_table.h"

#include "metadata_blob.h"

namespace alluvium::memory_bank {
namespace {

/// False when the session has logged this sequence, or a later one, before.
bool advance_session(Connection& connection, const LogEntry& entry, int64_t now_us) {
  if (entry.session.empty() || entry.sequence == 0) {
    return true;
  }
  Statement advance(
      connection,
      "INSERT INTO session(name, last_sequence, updated_us) VALUES (?, ?, ?) "
      "ON CONFLICT(name) DO UPDATE SET last_sequence = excluded.last_sequence, "
      "updated_us = excluded.updated_us WHERE excluded.last_sequence > last_sequence");
  advance.bind(entry.session, static_cast<int64_t>(entry.sequence), now_us).run();
  return connection.changes() > 0;
}

}  // namespace

std::vector<int64_t> insert_log(Connection& connection, std::span<const LogEntry> entries,
                                int64_t now_us) {
  Statement insert(
      connection,
      "INSERT INTO ingest_log(kind, name_space, id, version, valid_from_us, session, "
      "sequence, metadata, title, text, gated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  std::vector<int64_t> offsets;
  for (const LogEntry& entry : entries) {
    if (!advance_session(connection, entry, now_us)) {
      offsets.push_back(0);
      continue;
    }
    const Document& document = entry.document;
    insert
        .bind(static_cast<int64_t>(entry.kind), document.name_space, document.id,
              static_cast<int64_t>(document.version), document.valid_from_us, entry.session,
              static_cast<int64_t>(entry.sequence), bytes_of(encode_metadata(document.metadata)),
              document.title, document.text, static_cast<int64_t>(entry.gated ? 1 : 0))
        .run();
    offsets.push_back(connection.last_insert_row());
  }
  return offsets;
}

std::vector<LogEntry> select_pending(Connection& connection, int64_t after, int64_t limit) {
  Statement select(connection,
                   "SELECT log_offset, kind, name_space, id, version, valid_from_us, session, "
                   "sequence, metadata, title, text, gated FROM ingest_log WHERE log_offset > ? "
                   "ORDER BY log_offset LIMIT ?");
  select.bind(after, limit);
  std::vector<LogEntry> entries;
  while (select.step()) {
    LogEntry entry;
    entry.offset = select.integer(0);
    entry.kind = static_cast<LogEntry::Kind>(select.integer(1));
    entry.document.name_space = select.text(2);
    entry.document.id = select.text(3);
    entry.document.version = static_cast<uint64_t>(select.integer(4));
    entry.document.valid_from_us = select.integer(5);
    entry.session = select.text(6);
    entry.sequence = static_cast<uint64_t>(select.integer(7));
    entry.document.metadata = decode_metadata(select.blob(8));
    entry.document.title = select.text(9);
    entry.document.text = select.text(10);
    entry.gated = select.integer(11) != 0;
    entries.push_back(std::move(entry));
  }
  return entries;
}

uint64_t select_last_sequence(Connection& connection, const std::string& session) {
  Statement select(connection, "SELECT last_sequence FROM session WHERE name = ?");
  select.bind(session);
  return select.step() ? static_cast<uint64_t>(select.integer(0)) : 0;
}

void mark_applied(Connection& connection, int64_t offset) {
  Statement(connection, "DELETE FROM ingest_log WHERE log_offset = ?").bind(offset).run();
}

LogPosition select_log_position(Connection& connection) {
  LogPosition position;
  Statement logged(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'ingest_log'");
  position.logged = logged.step() ? logged.integer(0) : 0;
  Statement pending(connection, "SELECT count(*), min(log_offset) FROM ingest_log");
  pending.step();
  position.pending = pending.integer(0);
  position.applied = position.pending > 0 ? pending.integer(1) - 1 : position.logged;
  return position;
}

}  // namespace alluvium::memory_bank
