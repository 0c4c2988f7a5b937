// Decoded memories kept in RAM, least recently used out first, under a byte cap.
//
// Threads: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

struct CacheCounters {
  int64_t hits = 0;
  int64_t misses = 0;
  int64_t evictions = 0;
  std::size_t bytes = 0;
  std::size_t entries = 0;
};

class MemoryCache {
 public:
  /// capacity_bytes: resident bytes held at most; 0 keeps nothing.
  explicit MemoryCache(std::size_t capacity_bytes);

  /// Null on a miss.
  std::shared_ptr<const Memory> find(int64_t chunk_row);

  /// Replaces an entry of the same row. A memory larger than the whole cache is not kept.
  void insert(int64_t chunk_row, std::shared_ptr<const Memory> memory);

  void remove(int64_t chunk_row);
  void clear();
  CacheCounters counters() const;

 private:
  struct Entry {
    int64_t row = 0;
    std::shared_ptr<const Memory> memory;
  };

  void evict_past(std::size_t limit);

  const std::size_t capacity_bytes_;
  mutable std::mutex mutex_;
  std::list<Entry> recent_first_;
  std::unordered_map<int64_t, std::list<Entry>::iterator> by_row_;
  CacheCounters counters_;
};

}  // namespace alluvium::memory_bank
