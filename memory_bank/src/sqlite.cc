#include "sqlite.h"

#include <cstring>

#include <sqlite3.h>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

constexpr int kBusyTimeoutMs = 10000;

/// The one place where SQLite's codes become errors of ours.
[[noreturn]] void throw_sqlite(sqlite3* database, int code, const std::string& path,
                               std::string_view doing) {
  const std::string message =
      fmt::format("{}: {} ({}; SQLite code {})", path,
                  database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(code), doing,
                  database != nullptr ? sqlite3_extended_errcode(database) : code);
  switch (code & 0xff) {
    case SQLITE_FULL:
      throw ResourceExhausted(message + "; free some space on this disk");
    case SQLITE_NOMEM:
      throw ResourceExhausted(message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      throw DataCorruption(message + "; restore the directory from a snapshot");
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      throw InvalidArgument(message + "; check that the directory exists and may be written");
    case SQLITE_TOOBIG:
      throw InvalidArgument(message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
    case SQLITE_IOERR:
      throw Unavailable(message);
    default:
      throw InternalError(message);
  }
}

}  // namespace

Connection::Connection(const std::string& path, DatabaseAccess access) : path_(path) {
  const int flags = access == DatabaseAccess::read_only
                        ? SQLITE_OPEN_READONLY
                        : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(path.c_str(), &database_, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) {
    try {
      throw_sqlite(database_, code, path, "opening");
    } catch (...) {
      sqlite3_close_v2(database_);
      throw;
    }
  }
  sqlite3_busy_timeout(database_, kBusyTimeoutMs);
}

Connection::~Connection() { sqlite3_close_v2(database_); }

void Connection::execute(const char* sql) {
  const int code = sqlite3_exec(database_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) {
    throw_sqlite(database_, code, path_, sql);
  }
}

int64_t Connection::changes() const { return sqlite3_changes64(database_); }
int64_t Connection::last_insert_row() const { return sqlite3_last_insert_rowid(database_); }

Statement::Statement(Connection& connection, const char* sql) : connection_(connection) {
  const int code = sqlite3_prepare_v2(connection.handle(), sql, -1, &statement_, nullptr);
  if (code != SQLITE_OK) {
    throw_sqlite(connection.handle(), code, connection.path(), sql);
  }
}

Statement::~Statement() { sqlite3_finalize(statement_); }

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) {
    return true;
  }
  if (code != SQLITE_DONE) {
    throw_sqlite(connection_.handle(), code, connection_.path(), sqlite3_sql(statement_));
  }
  return false;
}

void Statement::run() {
  while (step()) {
  }
}

void Statement::reset() { sqlite3_reset(statement_); }

int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_, column); }

std::string Statement::text(int column) const {
  const auto* characters = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (characters == nullptr) {
    return {};
  }
  return {characters, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::span<const std::byte> Statement::blob(int column) const {
  const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

void Statement::bind_one(int index, int64_t value) {
  check_bound(sqlite3_bind_int64(statement_, index, value));
}

void Statement::bind_one(int index, double value) {
  check_bound(sqlite3_bind_double(statement_, index, value));
}

void Statement::bind_one(int index, std::string_view value) {
  check_bound(sqlite3_bind_text64(statement_, index, value.data() != nullptr ? value.data() : "",
                                  value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Statement::bind_one(int index, std::span<const std::byte> value) {
  // A null pointer would bind NULL; an empty blob is a value.
  const void* bytes = value.empty() ? static_cast<const void*>("") : value.data();
  check_bound(sqlite3_bind_blob64(statement_, index, bytes, value.size(), SQLITE_TRANSIENT));
}

void Statement::check_bound(int code) const {
  if (code != SQLITE_OK) {
    throw_sqlite(connection_.handle(), code, connection_.path(), sqlite3_sql(statement_));
  }
}

std::size_t Statement::check_array(int column, std::size_t element_bytes) const {
  const std::size_t bytes = blob(column).size();
  if (bytes % element_bytes != 0) {
    throw DataCorruption(fmt::format("{}: a blob of {} bytes does not hold elements of {} ({})",
                                     connection_.path(), bytes, element_bytes,
                                     sqlite3_sql(statement_)));
  }
  return bytes / element_bytes;
}

void Statement::copy_blob(int column, void* to) const {
  const auto bytes = blob(column);
  if (!bytes.empty()) {
    std::memcpy(to, bytes.data(), bytes.size());
  }
}

Transaction::Transaction(Connection& connection) : connection_(connection) {
  connection_.execute("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  // SQLite has already rolled back by itself after some errors; a second ROLLBACK then fails
  // without harm.
  if (open_) {
    sqlite3_exec(connection_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

void Transaction::commit() {
  connection_.execute("COMMIT");
  open_ = false;
}

}  // namespace alluvium::memory_bank
