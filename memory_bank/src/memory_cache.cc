#include "alluvium/memory_bank/memory_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace alluvium::memory_bank {
namespace {

constexpr std::size_t kVariantsOfChunk = 4;

bool is_behind(const ChunkVariant& variant, int64_t chunk_row) {
  const auto& before = variant.context.before;
  return std::any_of(before.begin(), before.end(),
                     [&](const auto& other) { return other.chunk == chunk_row; });
}

bool behind_the_same(const ChunkVariant& a, const ChunkVariant& b) {
  return std::equal(a.context.before.begin(), a.context.before.end(), b.context.before.begin(),
                    b.context.before.end(),
                    [](const auto& x, const auto& y) { return x.chunk == y.chunk; });
}

}  // namespace

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
  const std::size_t bytes = memory->resident_bytes();
  const std::lock_guard lock(mutex_);
  if (const auto found = by_row_.find(chunk_row); found != by_row_.end()) {
    erase(found->second);
  }
  if (!make_room(bytes)) {
    return;
  }
  recent_first_.push_front({chunk_row, std::move(memory), nullptr, bytes});
  by_row_[chunk_row] = recent_first_.begin();
  counters_.bytes += bytes;
  ++counters_.entries;
}

std::shared_ptr<const ChunkVariant> MemoryCache::best_variant(int64_t chunk_row,
                                                              const Digest& fingerprint,
                                                              std::span<const int64_t> now) {
  const std::lock_guard lock(mutex_);
  const auto found = variants_.find(chunk_row);
  if (found == variants_.end()) {
    return nullptr;
  }
  std::vector<Place>& of_chunk = found->second;
  auto best = of_chunk.end();
  double least = 0;
  for (auto at = of_chunk.begin(); at != of_chunk.end(); ++at) {
    const ChunkVariant& variant = *(*at)->variant;
    if (variant.memory->fingerprint != fingerprint) {
      continue;
    }
    const double overhead = fix_overhead(variant.context, now, 1);
    if (best == of_chunk.end() || overhead < least) {
      best = at;
      least = overhead;
    }
  }
  if (best == of_chunk.end()) {
    return nullptr;
  }
  recent_first_.splice(recent_first_.begin(), recent_first_, *best);
  std::rotate(best, best + 1, of_chunk.end());
  return of_chunk.back()->variant;
}

void MemoryCache::insert_variant(int64_t chunk_row, std::shared_ptr<const ChunkVariant> variant,
                                 uint64_t removals) {
  const std::size_t bytes = variant->resident_bytes();
  const std::lock_guard lock(mutex_);
  if (removals != removals_) {
    return;
  }
  if (const auto found = variants_.find(chunk_row); found != variants_.end()) {
    const std::vector<Place>& of_chunk = found->second;
    const auto same = std::find_if(of_chunk.begin(), of_chunk.end(), [&](Place place) {
      return behind_the_same(*place->variant, *variant);
    });
    if (same != of_chunk.end()) {
      erase(*same);
    } else if (of_chunk.size() == kVariantsOfChunk) {
      erase(of_chunk.front());
    }
  }
  if (!make_room(bytes)) {
    return;
  }
  recent_first_.push_front({chunk_row, nullptr, std::move(variant), bytes});
  variants_[chunk_row].push_back(recent_first_.begin());
  counters_.bytes += bytes;
  ++counters_.variants;
}

void MemoryCache::remove(int64_t chunk_row) {
  const std::lock_guard lock(mutex_);
  ++removals_;
  std::vector<Place> leaving;
  if (const auto found = by_row_.find(chunk_row); found != by_row_.end()) {
    leaving.push_back(found->second);
  }
  for (const auto& [row, of_chunk] : variants_) {
    std::copy_if(of_chunk.begin(), of_chunk.end(), std::back_inserter(leaving), [&](Place place) {
      return place->row == chunk_row || is_behind(*place->variant, chunk_row);
    });
  }
  for (const Place place : leaving) {
    erase(place);
  }
}

uint64_t MemoryCache::removals() const {
  const std::lock_guard lock(mutex_);
  return removals_;
}

void MemoryCache::clear() {
  const std::lock_guard lock(mutex_);
  ++removals_;
  recent_first_.clear();
  by_row_.clear();
  variants_.clear();
  counters_.bytes = 0;
  counters_.entries = 0;
  counters_.variants = 0;
}

CacheCounters MemoryCache::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

bool MemoryCache::make_room(std::size_t bytes) {
  if (bytes > capacity_bytes_) {
    return false;
  }
  while (counters_.bytes > capacity_bytes_ - bytes) {
    erase(std::prev(recent_first_.end()));
    ++counters_.evictions;
  }
  return true;
}

void MemoryCache::erase(Place place) {
  counters_.bytes -= place->bytes;
  if (place->variant == nullptr) {
    by_row_.erase(place->row);
    --counters_.entries;
  } else {
    std::vector<Place>& of_chunk = variants_[place->row];
    of_chunk.erase(std::find(of_chunk.begin(), of_chunk.end(), place));
    if (of_chunk.empty()) {
      variants_.erase(place->row);
    }
    --counters_.variants;
  }
  recent_first_.erase(place);
}

}  // namespace alluvium::memory_bank
