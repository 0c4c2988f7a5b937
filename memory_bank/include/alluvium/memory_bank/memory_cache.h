// Decoded memories kept in RAM, least recently used out first, under a byte cap.
//
// Purpose: of a chunk its memory, and up to four variants: its rows as they were behind other chunks
//          (chunk_reuse.h). A variant holds traces of the chunks before it and leaves with any of them.
// Threads: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "alluvium/memory_bank/chunk_reuse.h"
#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

struct CacheCounters {
  int64_t hits = 0;  ///< of find() alone
  int64_t misses = 0;
  int64_t evictions = 0;
  std::size_t bytes = 0;
  std::size_t entries = 0;  ///< memories
  std::size_t variants = 0;
};

class MemoryCache {
 public:
  /// capacity_bytes: resident bytes held at most; 0 keeps nothing.
  explicit MemoryCache(std::size_t capacity_bytes);

  /// Null on a miss.
  std::shared_ptr<const Memory> find(int64_t chunk_row);

  /// Replaces the memory of the same row. One larger than the whole cache is not kept.
  void insert(int64_t chunk_row, std::shared_ptr<const Memory> memory);

  /// The variant of least overhead behind the chunks `now`, among those of `fingerprint`; null when
  /// there is none.
  std::shared_ptr<const ChunkVariant> best_variant(int64_t chunk_row, const Digest& fingerprint,
                                                   std::span<const int64_t> now);

  /// Replaces the variant of the same row behind the same chunks, or the one used longest ago of four.
  /// removals: what removals() said before the variant's rows were made; if a chunk was removed since,
  /// nothing is kept.
  void insert_variant(int64_t chunk_row, std::shared_ptr<const ChunkVariant> variant,
                      uint64_t removals);

  /// The memory, its variants, and all variants that were made behind it.
  void remove(int64_t chunk_row);
  uint64_t removals() const;  ///< calls of remove() and clear()
  void clear();
  CacheCounters counters() const;

 private:
  struct Entry {
    int64_t row = 0;
    std::shared_ptr<const Memory> memory;
    std::shared_ptr<const ChunkVariant> variant;  // or this one
    std::size_t bytes = 0;
  };
  using Place = std::list<Entry>::iterator;

  bool make_room(std::size_t bytes);
  void erase(Place place);

  const std::size_t capacity_bytes_;
  mutable std::mutex mutex_;
  std::list<Entry> recent_first_;
  std::unordered_map<int64_t, Place> by_row_;
  std::unordered_map<int64_t, std::vector<Place>> variants_;  // of each row, last used last
  CacheCounters counters_;
  uint64_t removals_ = 0;
};

}  // namespace alluvium::memory_bank
