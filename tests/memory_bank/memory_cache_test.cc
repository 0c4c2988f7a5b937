#include "alluvium/memory_bank/memory_cache.h"

#include "bank_fixtures.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using memory_bank::Memory;
using memory_bank::MemoryCache;
using Order = std::vector<int64_t>;

std::shared_ptr<const Memory> some_memory(uint64_t seed) {
  return std::make_shared<const Memory>(make_memory({1, 2, 3}, seed));
}

/// Rows of a chunk behind others.
std::shared_ptr<const memory_bank::ChunkVariant> some_variant(uint64_t seed,
                                                              std::vector<int64_t> behind) {
  auto variant = std::make_shared<memory_bank::ChunkVariant>();
  variant->memory = some_memory(seed);
  variant->context = {.tokens = 3, .before = {}, .within = {1.0, 1.0}};
  for (const int64_t chunk : behind) {
    variant->context.before.push_back({.chunk = chunk, .tokens = 3, .attention = {0.5, 0.5}});
  }
  variant->outward = {0.1F, 0.2F, 0.3F};
  return variant;
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

TEST_CASE("memory cache: of a chunk's variants the one of least overhead is found",
          "[memory_bank][cache]") {
  MemoryCache cache(100 * kBytes);
  const Digest fingerprint = some_memory(1)->fingerprint;
  const auto best = [&](const Order& now) { return cache.best_variant(7, fingerprint, now); };
  CHECK(best({1}) == nullptr);
  const auto behind_1 = some_variant(1, {1});
  const auto behind_2_3 = some_variant(2, {2, 3});
  cache.insert_variant(7, behind_1, cache.removals());
  cache.insert_variant(7, behind_2_3, cache.removals());
  CHECK(best({1}) == behind_1);
  CHECK(best({2, 3}) == behind_2_3);
  CHECK(best({3}) == behind_2_3);
  CHECK(cache.best_variant(8, fingerprint, Order{1}) == nullptr);
  Digest other = fingerprint;
  other[0] ^= 1;
  CHECK(cache.best_variant(7, other, Order{1}) == nullptr);

  const auto again = some_variant(3, {2, 3});
  cache.insert_variant(7, again, cache.removals());
  CHECK(best({2, 3}) == again);
  CHECK(cache.counters().variants == 2);
  CHECK(cache.counters().entries == 0);
  CHECK(cache.counters().bytes == behind_1->resident_bytes() + again->resident_bytes());
}

TEST_CASE("memory cache: a chunk has four variants at most, and the one used longest ago leaves",
          "[memory_bank][cache]") {
  MemoryCache cache(100 * kBytes);
  const Digest fingerprint = some_memory(1)->fingerprint;
  std::vector<std::shared_ptr<const memory_bank::ChunkVariant>> variants;
  for (int64_t i = 0; i < 5; ++i) {
    variants.push_back(some_variant(static_cast<uint64_t>(i), {i}));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    cache.insert_variant(7, variants[i], cache.removals());
  }
  REQUIRE(cache.best_variant(7, fingerprint, Order{0}) == variants[0]);
  cache.insert_variant(7, variants[4], cache.removals());
  CHECK(cache.counters().variants == 4);
  for (const int64_t kept : {0, 2, 3, 4}) {
    CHECK(cache.best_variant(7, fingerprint, Order{kept}) ==
          variants[static_cast<std::size_t>(kept)]);
  }
  CHECK(cache.best_variant(7, fingerprint, Order{1}) != variants[1]);
}

TEST_CASE("memory cache: a variant leaves with its chunk and with any chunk it was made behind",
          "[memory_bank][cache]") {
  MemoryCache cache(100 * kBytes);
  const Digest fingerprint = some_memory(1)->fingerprint;
  cache.insert(1, some_memory(1));
  cache.insert(7, some_memory(7));
  cache.insert_variant(7, some_variant(1, {1}), cache.removals());
  cache.insert_variant(7, some_variant(2, {2}), cache.removals());
  cache.insert_variant(8, some_variant(3, {2, 1}), cache.removals());
  cache.insert_variant(1, some_variant(4, {2}), cache.removals());
  // A memory that is loaded again is no other chunk.
  cache.insert(1, some_memory(1));
  REQUIRE(cache.counters().variants == 4);
  const uint64_t before = cache.removals();
  cache.remove(1);
  CHECK(cache.counters().variants == 1);
  CHECK(cache.counters().entries == 1);
  CHECK(cache.best_variant(8, fingerprint, Order{2, 1}) == nullptr);
  CHECK(cache.best_variant(7, fingerprint, Order{2})->context.before[0].chunk == 2);
  // Made while the chunk was there, finished after it went.
  cache.insert_variant(8, some_variant(3, {1}), before);
  CHECK(cache.best_variant(8, fingerprint, Order{1}) == nullptr);
  cache.remove(7);
  CHECK(cache.counters().bytes == 0);
  cache.insert_variant(8, some_variant(3, {1}), cache.removals());
  cache.clear();
  CHECK(cache.best_variant(8, fingerprint, Order{1}) == nullptr);
  CHECK(cache.counters().bytes == 0);
}

TEST_CASE("memory cache: memories and variants share the bytes", "[memory_bank][cache]") {
  const auto variant = some_variant(2, {1});
  MemoryCache cache(kBytes + variant->resident_bytes());
  const Digest fingerprint = variant->memory->fingerprint;
  cache.insert(1, some_memory(1));
  cache.insert_variant(1, variant, cache.removals());
  REQUIRE(cache.find(1) != nullptr);  // the variant is now the older
  cache.insert(2, some_memory(2));
  CHECK(cache.best_variant(1, fingerprint, Order{1}) == nullptr);
  CHECK(cache.find(1) != nullptr);
  CHECK(cache.find(2) != nullptr);
  MemoryCache small(kBytes);
  small.insert_variant(1, variant, small.removals());
  CHECK(small.counters().variants == 0);
  CHECK(small.best_variant(1, fingerprint, Order{1}) == nullptr);
}

}  // namespace alluvium::tests
