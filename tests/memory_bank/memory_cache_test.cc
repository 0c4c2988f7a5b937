#include "alluvium/memory_bank/memory_cache.h"

#include "bank_fixtures.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using memory_bank::Memory;
using memory_bank::MemoryCache;

std::shared_ptr<const Memory> some_memory(uint64_t seed) {
  return std::make_shared<const Memory>(make_memory({1, 2, 3}, seed));
}

// 3 tokens of 4 bytes, keys and values of 2 * 2 * 3 * 4 floats each.
constexpr std::size_t kBytes = 3 * 4 + 2 * 2 * 2 * 3 * 4 * 4;

}  // namespace

TEST_CASE("memory cache: the least recently used memory leaves first", "[memory_bank][cache]") {
  MemoryCache cache(2 * kBytes);
  const auto first = some_memory(1);
  REQUIRE(first->resident_bytes() == kBytes);
  cache.insert(1, first);
  cache.insert(2, some_memory(2));
  REQUIRE(cache.find(1) == first);  // 2 is now the older
  cache.insert(3, some_memory(3));
  CHECK(cache.find(2) == nullptr);
  CHECK(cache.find(1) == first);
  CHECK(cache.find(3) != nullptr);
  const auto counters = cache.counters();
  CHECK(counters.hits == 3);
  CHECK(counters.misses == 1);
  CHECK(counters.evictions == 1);
  CHECK(counters.entries == 2);
  CHECK(counters.bytes == 2 * kBytes);
}

TEST_CASE("memory cache: one entry a row, and removal gives the bytes back",
          "[memory_bank][cache]") {
  MemoryCache cache(10 * kBytes);
  cache.insert(7, some_memory(1));
  const auto newer = some_memory(2);
  cache.insert(7, newer);
  CHECK(cache.find(7) == newer);
  CHECK(cache.counters().bytes == kBytes);
  cache.remove(7);
  cache.remove(7);
  CHECK(cache.find(7) == nullptr);
  CHECK(cache.counters().bytes == 0);
  CHECK(cache.counters().entries == 0);
  cache.insert(8, newer);
  cache.clear();
  CHECK(cache.counters().entries == 0);
  CHECK(cache.counters().bytes == 0);
}

TEST_CASE("memory cache: what is larger than the whole cache is not kept", "[memory_bank][cache]") {
  MemoryCache none(0);
  none.insert(1, some_memory(1));
  CHECK(none.find(1) == nullptr);
  MemoryCache small(kBytes - 1);
  small.insert(1, some_memory(1));
  CHECK(small.find(1) == nullptr);
  CHECK(small.counters().bytes == 0);
}

TEST_CASE("memory cache: a reader keeps an evicted memory alive", "[memory_bank][cache]") {
  MemoryCache cache(kBytes);
  cache.insert(1, some_memory(1));
  const auto held = cache.find(1);
  cache.insert(2, some_memory(2));
  CHECK(cache.find(1) == nullptr);
  CHECK(held->tokens.size() == 3);
}

}  // namespace alluvium::tests
