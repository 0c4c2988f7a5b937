// Read connections to one database, lent to one thread at a time.
//
// Threads: thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "sqlite.h"

namespace alluvium::memory_bank {

class ConnectionPool {
 public:
  /// Connections are opened as they are needed and kept.
  explicit ConnectionPool(std::string path) : path_(std::move(path)) {}

  /// A connection that goes back when the lease ends. The pool must outlive it.
  class Lease {
   public:
    Lease(ConnectionPool& pool, std::unique_ptr<Connection> connection)
        : pool_(pool), connection_(std::move(connection)) {}
    ~Lease() { pool_.give_back(std::move(connection_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    Connection& operator*() const { return *connection_; }

   private:
    ConnectionPool& pool_;
    std::unique_ptr<Connection> connection_;
  };

  Lease lease();

 private:
  void give_back(std::unique_ptr<Connection> connection) noexcept;

  const std::string path_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace alluvium::memory_bank
