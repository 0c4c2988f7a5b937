#include "connection_pool.h"

#include "schema.h"

namespace alluvium::memory_bank {
namespace {

// More threads than this may read at once; their connections are closed afterwards.
constexpr std::size_t kIdleConnections = 16;

}  // namespace

ConnectionPool::Lease ConnectionPool::lease() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto connection = std::move(idle_.back());
      idle_.pop_back();
      return {*this, std::move(connection)};
    }
  }
  auto connection = std::make_unique<Connection>(path_, DatabaseAccess::read_only);
  configure_connection(*connection, DatabaseAccess::read_only);
  return {*this, std::move(connection)};
}

void ConnectionPool::give_back(std::unique_ptr<Connection> connection) noexcept {
  const std::lock_guard lock(mutex_);
  if (idle_.capacity() == 0) {
    try {
      idle_.reserve(kIdleConnections);
    } catch (const std::bad_alloc&) {
      return;  // the connection is closed instead of kept
    }
  }
  if (idle_.size() < kIdleConnections) {
    idle_.push_back(std::move(connection));
  }
}

}  // namespace alluvium::memory_bank
