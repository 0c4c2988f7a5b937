#include "alluvium/memory_bank/memory_cache.h"

#include <utility>

namespace alluvium::memory_bank {

MemoryCache::MemoryCache(std::size_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

std::shared_ptr<const Memory> MemoryCache::find(int64_t chunk_row) {
  const std::lock_guard lock(mutex_);
  const auto found = by_row_.find(chunk_row);
  if (found == by_row_.end()) {
    ++counters_.misses;
    return nullptr;
  }
  ++counters_.hits;
  recent_first_.splice(recent_first_.begin(), recent_first_, found->second);
  return found->second->memory;
}

void MemoryCache::insert(int64_t chunk_row, std::shared_ptr<const Memory> memory) {
  remove(chunk_row);
  const std::size_t bytes = memory->resident_bytes();
  if (bytes > capacity_bytes_) {
    return;
  }
  const std::lock_guard lock(mutex_);
  if (by_row_.count(chunk_row) > 0) {
    return;  // another thread was faster with the same memory
  }
  evict_past(capacity_bytes_ - bytes);
  recent_first_.push_front({chunk_row, std::move(memory)});
  by_row_[chunk_row] = recent_first_.begin();
  counters_.bytes += bytes;
  counters_.entries = by_row_.size();
}

void MemoryCache::remove(int64_t chunk_row) {
  const std::lock_guard lock(mutex_);
  const auto found = by_row_.find(chunk_row);
  if (found == by_row_.end()) {
    return;
  }
  counters_.bytes -= found->second->memory->resident_bytes();
  recent_first_.erase(found->second);
  by_row_.erase(found);
  counters_.entries = by_row_.size();
}

void MemoryCache::clear() {
  const std::lock_guard lock(mutex_);
  recent_first_.clear();
  by_row_.clear();
  counters_.bytes = 0;
  counters_.entries = 0;
}

CacheCounters MemoryCache::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void MemoryCache::evict_past(std::size_t limit) {
  while (counters_.bytes > limit) {
    const Entry& oldest = recent_first_.back();
    counters_.bytes -= oldest.memory->resident_bytes();
    by_row_.erase(oldest.row);
    recent_first_.pop_back();
    ++counters_.evictions;
  }
}

}  // namespace alluvium::memory_bank
