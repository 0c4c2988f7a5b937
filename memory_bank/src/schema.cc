#include "schema.h"

#include <array>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

// Step n brings a database of version n to version n + 1. A step is never edited once released; a
// change is a new step.
constexpr std::array<const char*, 4> kMigrations = {R"sql(
CREATE TABLE ingest_log(
  log_offset    INTEGER PRIMARY KEY AUTOINCREMENT,
  kind          INTEGER NOT NULL,
  name_space    TEXT NOT NULL,
  id            TEXT NOT NULL,
  version       INTEGER NOT NULL,
  valid_from_us INTEGER NOT NULL,
  session       TEXT NOT NULL,
  sequence      INTEGER NOT NULL,
  metadata      BLOB NOT NULL,
  title         TEXT NOT NULL,
  text          TEXT NOT NULL);

CREATE TABLE session(
  name          TEXT PRIMARY KEY,
  last_sequence INTEGER NOT NULL,
  updated_us    INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE document(
  document_row  INTEGER PRIMARY KEY AUTOINCREMENT,
  name_space    TEXT NOT NULL,
  id            TEXT NOT NULL,
  version       INTEGER NOT NULL,
  valid_from_us INTEGER NOT NULL,
  created_us    INTEGER NOT NULL,
  text_bytes    INTEGER NOT NULL,
  metadata      BLOB NOT NULL,
  title         TEXT NOT NULL,
  text          TEXT NOT NULL,
  UNIQUE(name_space, id));

CREATE TABLE tombstone(
  name_space    TEXT NOT NULL,
  id            TEXT NOT NULL,
  version       INTEGER NOT NULL,
  PRIMARY KEY(name_space, id)) WITHOUT ROWID;

CREATE TABLE chunk(
  chunk_row     INTEGER PRIMARY KEY AUTOINCREMENT,
  document_row  INTEGER NOT NULL REFERENCES document ON DELETE CASCADE,
  part          INTEGER NOT NULL,
  begin_byte    INTEGER NOT NULL,
  end_byte      INTEGER NOT NULL,
  token_count   INTEGER NOT NULL,
  tokens        BLOB NOT NULL,
  UNIQUE(document_row, part));

CREATE TABLE memory(
  chunk_row     INTEGER PRIMARY KEY REFERENCES chunk ON DELETE CASCADE,
  fingerprint   BLOB NOT NULL,
  segment       INTEGER NOT NULL,
  record_offset INTEGER NOT NULL,
  record_bytes  INTEGER NOT NULL);
CREATE INDEX memory_by_place ON memory(segment, record_offset);

CREATE TABLE retrieval_key(
  document_row  INTEGER PRIMARY KEY REFERENCES document ON DELETE CASCADE,
  encoder       BLOB NOT NULL,
  dimension     INTEGER NOT NULL,
  key_count     INTEGER NOT NULL,
  vectors       BLOB NOT NULL);

CREATE TABLE dead_letter(
  letter_row    INTEGER PRIMARY KEY,
  source        TEXT NOT NULL,
  line          INTEGER NOT NULL,
  reason        TEXT NOT NULL,
  created_us    INTEGER NOT NULL,
  content       TEXT NOT NULL);

CREATE VIRTUAL TABLE document_text USING fts5(
  title, text, content = 'document', content_rowid = 'document_row',
  tokenize = "porter unicode61 remove_diacritics 2");
CREATE VIRTUAL TABLE document_term USING fts5vocab(document_text, row);

CREATE TRIGGER document_inserted AFTER INSERT ON document BEGIN
  INSERT INTO document_text(rowid, title, text) VALUES (new.document_row, new.title, new.text);
END;
CREATE TRIGGER document_deleted AFTER DELETE ON document BEGIN
  INSERT INTO document_text(document_text, rowid, title, text)
    VALUES ('delete', old.document_row, old.title, old.text);
END;
CREATE TRIGGER document_updated AFTER UPDATE OF title, text ON document BEGIN
  INSERT INTO document_text(document_text, rowid, title, text)
    VALUES ('delete', old.document_row, old.title, old.text);
  INSERT INTO document_text(rowid, title, text) VALUES (new.document_row, new.title, new.text);
END;
)sql",
                                                    R"sql(
ALTER TABLE memory ADD COLUMN aim BLOB;
ALTER TABLE memory ADD COLUMN preset TEXT NOT NULL DEFAULT '';
ALTER TABLE memory ADD COLUMN quality_gap REAL;
UPDATE memory SET aim = fingerprint;

CREATE TABLE setting(
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL) WITHOUT ROWID;
)sql",
                                                    R"sql(
ALTER TABLE ingest_log ADD COLUMN gated INTEGER NOT NULL DEFAULT 1;

CREATE TABLE held_document(
  held_row       INTEGER PRIMARY KEY AUTOINCREMENT,
  name_space     TEXT NOT NULL,
  id             TEXT NOT NULL,
  version        INTEGER NOT NULL,
  valid_from_us  INTEGER NOT NULL,
  created_us     INTEGER NOT NULL,
  selector       TEXT NOT NULL,
  target_version INTEGER NOT NULL,
  score          REAL NOT NULL,
  reason         TEXT NOT NULL,
  metadata       BLOB NOT NULL,
  title          TEXT NOT NULL,
  text           TEXT NOT NULL,
  UNIQUE(name_space, id));

CREATE TABLE sample(
  sample_row INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  content    TEXT NOT NULL,
  state      BLOB NOT NULL,
  features   BLOB NOT NULL,
  retired    TEXT);

CREATE TABLE sample_head(
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  head BLOB NOT NULL);
)sql",
                                                    R"sql(
ALTER TABLE memory ADD COLUMN document_sha BLOB;
CREATE INDEX memory_by_text ON memory(fingerprint, document_sha);
)sql"};

// A bigger database is checked by verify() alone, so that starting stays fast.
constexpr int64_t kCheckedAtOpenBytes = int64_t{64} << 20;

int64_t read_pragma(Connection& connection, const char* pragma) {
  Statement statement(connection, pragma);
  return statement.step() ? statement.integer(0) : 0;
}

int64_t read_version(Connection& connection) {
  return read_pragma(connection, "PRAGMA user_version");
}

void check_pages(Connection& connection) {
  const int64_t bytes =
      read_pragma(connection, "PRAGMA page_count") * read_pragma(connection, "PRAGMA page_size");
  if (bytes > kCheckedAtOpenBytes) {
    return;
  }
  Statement check(connection, "PRAGMA quick_check(1)");
  if (check.step() && check.text(0) != "ok") {
    throw DataCorruption(fmt::format("{} fails SQLite's check: {}; restore it from a snapshot",
                                     connection.path(), check.text(0)));
  }
}

}  // namespace

int64_t schema_version() { return static_cast<int64_t>(kMigrations.size()); }

void configure_connection(Connection& connection, DatabaseAccess access) {
  connection.execute("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY");
  if (access == DatabaseAccess::read_write) {
    // secure_delete: the bytes of an erased document are overwritten, not only forgotten.
    connection.execute(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON");
  }
}

void migrate(Connection& connection) {
  if (read_version(connection) > schema_version()) {
    throw DataCorruption(
        fmt::format("{} has schema version {}, this build knows {}: use a newer build",
                    connection.path(), read_version(connection), schema_version()));
  }
  check_pages(connection);
  for (int64_t step = read_version(connection); step < schema_version(); ++step) {
    Transaction transaction(connection);
    connection.execute(kMigrations[static_cast<std::size_t>(step)]);
    connection.execute(fmt::format("PRAGMA user_version = {}", step + 1).c_str());
    transaction.commit();
  }
}

void require_schema(Connection& connection) {
  const int64_t version = read_version(connection);
  ALLUVIUM_CHECK(version == schema_version(),
                 "{} has schema version {}, this build reads {}: open it once for writing",
                 connection.path(), version, schema_version());
}

}  // namespace alluvium::memory_bank
