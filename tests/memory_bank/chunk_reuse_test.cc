#include "alluvium/memory_bank/chunk_reuse.h"

#include <vector>

#include "support/catch.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using memory_bank::ChunkContext;
using Order = std::vector<int64_t>;

constexpr int64_t kA = 11;
constexpr int64_t kB = 12;
constexpr int64_t kC = 13;

/// Four tokens behind A (two tokens) and B (four), in two layers.
ChunkContext behind_a_and_b() {
  return {.tokens = 4,
          .before = {{.chunk = kA, .tokens = 2, .attention = {0.4, 0.2}},
                     {.chunk = kB, .tokens = 4, .attention = {0.8, 0.4}}},
          .within = {2.0, 2.4}};
}

}  // namespace

// a = mean(0.4 / 8 + 0.8 / 16, 0.2 / 8 + 0.4 / 16) = 0.075, b = mean(2 / 16, 2.4 / 16) = 0.1375.
TEST_CASE("chunk reuse: Cache-Craft's figures by hand", "[memory_bank][reuse][oracle]") {
  const ChunkContext context = behind_a_and_b();
  CHECK_THAT(memory_bank::cache_context_impact(context), WithinAbs(0.633080, 1e-6));

  CHECK_THAT(memory_bank::prefix_overlap(context, Order{kB}), WithinAbs(0.666667, 1e-6));
  CHECK_THAT(memory_bank::fix_overhead(context, Order{kB}, 1), WithinAbs(0.211027, 1e-6));
  CHECK(memory_bank::tokens_to_fix(0.211027, 4) == 1);

  CHECK_THAT(memory_bank::prefix_overlap(context, Order{kB, kA}), WithinAbs(1, 1e-12));
  CHECK_THAT(memory_bank::order_penalty(Order{kA, kB}, Order{kB, kA}), WithinAbs(1, 1e-12));
  CHECK_THAT(memory_bank::fix_overhead(context, Order{kB, kA}, 1), WithinAbs(0.633080, 1e-6));
  CHECK(memory_bank::tokens_to_fix(0.633080, 4) == 3);

  CHECK_THAT(memory_bank::order_penalty(Order{kA, kB, kC}, Order{kC, kA, kB}),
             WithinAbs(0.666667, 1e-6));
}

TEST_CASE("chunk reuse: what stood alone owes nothing to others and overlaps with none",
          "[memory_bank][reuse]") {
  const ChunkContext alone{.tokens = 4, .before = {}, .within = {3.0, 3.0}};
  CHECK(memory_bank::cache_context_impact(alone) == 0.5);
  CHECK(memory_bank::fix_overhead(alone, Order{}, 1) == 0);
  CHECK(memory_bank::fix_overhead(alone, Order{kA}, 1) == 0.5);
  ChunkContext unseeing = behind_a_and_b();
  unseeing.before[0].attention = unseeing.before[1].attention = {0, 0};
  CHECK(memory_bank::cache_context_impact(unseeing) == 0.5);
}

TEST_CASE("chunk reuse: the same chunks before it cost nothing, others at most everything",
          "[memory_bank][reuse]") {
  const ChunkContext context = behind_a_and_b();
  CHECK(memory_bank::fix_overhead(context, Order{kA, kB}, 1) == 0);
  CHECK(memory_bank::fix_overhead(context, Order{kA, kB}, 100) == 0);
  // One more in their midst turns no pair round, and the formula does not see it.
  CHECK(memory_bank::fix_overhead(context, Order{kA, kC, kB}, 1) == 0);
  CHECK_THAT(memory_bank::fix_overhead(context, Order{kC}, 1), WithinAbs(0.633080, 1e-6));
  CHECK(memory_bank::fix_overhead(context, Order{kC}, 2) == 1);
  CHECK(memory_bank::fix_overhead(context, Order{}, 1) ==
        memory_bank::fix_overhead(context, Order{kC}, 1));
  CHECK(memory_bank::fix_overhead(context, Order{kC}, 0) == 0);
}

TEST_CASE("chunk reuse: tokens that look outward most are made anew, of equals the first",
          "[memory_bank][reuse]") {
  const std::vector<float> outward = {0.1F, 0.5F, 0.2F, 0.5F, 0.2F};
  CHECK(memory_bank::most_outward(outward, 0).empty());
  CHECK(memory_bank::most_outward(outward, 1) == Order{1});
  CHECK(memory_bank::most_outward(outward, 3) == Order{1, 2, 3});
  CHECK(memory_bank::most_outward(outward, 5) == Order{0, 1, 2, 3, 4});
  CHECK(memory_bank::tokens_to_fix(0, 7) == 0);
  CHECK(memory_bank::tokens_to_fix(1e-9, 7) == 1);
  CHECK(memory_bank::tokens_to_fix(1, 7) == 7);
}

}  // namespace alluvium::tests
