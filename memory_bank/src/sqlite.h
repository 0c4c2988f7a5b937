// SQLite connections, statements and transactions as values, with SQLite's codes turned into our
// errors in one place.
//
// Threads: a Connection and its Statements belong to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace alluvium::memory_bank {

enum class DatabaseAccess { read_only, read_write };

class Connection {
 public:
  /// Opens the file; read_write makes it when it is not there. Throws InvalidArgument naming the
  /// path when it cannot be opened.
  Connection(const std::string& path, DatabaseAccess access);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Runs one or more statements without parameters or results.
  void execute(const char* sql);

  /// Rows changed by the latest statement.
  int64_t changes() const;
  int64_t last_insert_row() const;

  sqlite3* handle() const { return database_; }
  const std::string& path() const { return path_; }

 private:
  sqlite3* database_ = nullptr;
  std::string path_;
};

/// A prepared statement. `?` parameters are bound in order; results are read by column from 0.
class Statement {
 public:
  Statement(Connection& connection, const char* sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// Starts over with new parameters.
  template <class... Values>
  Statement& bind(const Values&... values) {
    reset();
    int index = 0;
    (bind_one(++index, values), ...);
    return *this;
  }

  /// True when there is a row to read; false at the end.
  bool step();

  /// Steps to the end.
  void run();

  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  /// Valid until the next step.
  std::span<const std::byte> blob(int column) const;

  /// A blob of plain elements; throws DataCorruption when its size is no multiple of one.
  template <class T>
  std::vector<T> array(int column) const {
    std::vector<T> elements(check_array(column, sizeof(T)));
    copy_blob(column, elements.data());
    return elements;
  }

 private:
  void bind_one(int index, int64_t value);
  void bind_one(int index, double value);
  void bind_one(int index, std::string_view value);
  void bind_one(int index, const char* value) { bind_one(index, std::string_view(value)); }
  void bind_one(int index, std::span<const std::byte> value);
  void check_bound(int code) const;
  void reset();
  std::size_t check_array(int column, std::size_t element_bytes) const;
  void copy_blob(int column, void* to) const;

  Connection& connection_;
  sqlite3_stmt* statement_ = nullptr;
};

/// The bytes of plain elements, for binding.
template <class Container>
std::span<const std::byte> bytes_of(const Container& elements) {
  return std::as_bytes(std::span(elements));
}

/// A write transaction; rolled back unless commit() was reached.
class Transaction {
 public:
  explicit Transaction(Connection& connection);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  void commit();

 private:
  Connection& connection_;
  bool open_ = true;
};

}  // namespace alluvium::memory_bank
