#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "kv/budget.h"
#include "support/catch.h"
#include "support/thread_count.h"

namespace alluvium::memory_bank {
namespace {

using Counts = std::vector<int64_t>;

at::Tensor scores_of(const std::vector<float>& values, int64_t layers, int64_t heads, int64_t n) {
  at::Tensor scores = at::empty({layers, heads, n}, at::TensorOptions().dtype(at::kFloat));
  std::copy(values.begin(), values.end(), scores.mutable_data_ptr<float>());
  return scores;
}

at::Tensor random_scores(uint64_t seed, int64_t layers, int64_t heads, int64_t n) {
  Random random(seed);
  std::vector<float> values;
  for (int64_t i = 0; i < layers * heads * n; ++i) {
    values.push_back(static_cast<float>(random.below(12)) / 12.0F);  // many are equal
  }
  return scores_of(values, layers, heads, n);
}

/// Tokens of each slot.
std::vector<Counts> kept_tokens(const KeptRows& kept) {
  std::vector<Counts> tokens;
  const auto* position = kept.positions.const_data_ptr<int64_t>();
  for (const int64_t count : kept.counts) {
    tokens.emplace_back(position, position + count);
    position += count;
  }
  return tokens;
}

// Two layers of two heads, four tokens. Sorted and averaged: layer 0 has the curve
// (.85, .4, .15, .1), layer 1 (.5, .25, .2, .1).
at::Tensor curve_example() {
  return scores_of({.9F, .1F, .5F, .2F, .3F, .8F, .1F, .1F, .2F, .6F, .2F, .1F, .1F, .2F, .3F, .4F},
                   2, 2, 4);
}

}  // namespace

TEST_CASE("budget: curves by hand", "[memory_bank][kv][budget]") {
  BudgetOptions options{.budget = "curves", .keep = 4.0 / 8, .floor_rows = 0, .keep_mask = {}};
  CHECK(share_rows(curve_example(), options) == Counts{2, 2, 2, 2});
  options.keep = 5.0 / 8;
  const KeptRows kept = choose_rows(curve_example(), options);
  CHECK(kept.counts == Counts{2, 2, 3, 3});
  CHECK(kept_tokens(kept) == std::vector<Counts>{{0, 2}, {0, 1}, {0, 1, 2}, {1, 2, 3}});
}

TEST_CASE("budget: global takes the best rows wherever they are", "[memory_bank][kv][budget]") {
  // The six best of the example: .9, .8, .6, .5, .4, then .3 of layer 0 before .3 of layer 1.
  BudgetOptions options{.budget = "global", .keep = 6.0 / 16, .floor_rows = 1, .keep_mask = {}};
  const KeptRows kept = choose_rows(curve_example(), options);
  CHECK(kept.counts == Counts{2, 2, 1, 1});
  CHECK(kept_tokens(kept) == std::vector<Counts>{{0, 2}, {0, 1}, {1}, {3}});
}

TEST_CASE("budget: a pyramid falls evenly and keeps the mean", "[memory_bank][kv][budget]") {
  // Mean 20 of 100 rows: the last layer keeps 20 / 20 = 1, the first 2 * 20 - 1 = 39.
  BudgetOptions options{.budget = "pyramid", .keep = 0.2, .floor_rows = 1, .keep_mask = {}};
  const Counts counts = share_rows(random_scores(1, 3, 1, 100), options);
  CHECK(counts == Counts{39, 20, 1});
  options.keep = 0.8;  // the first layer cannot keep more than all
  CHECK(share_rows(random_scores(1, 3, 1, 100), options) == Counts{100, 80, 60});
}

// kv_memory.md, vector V8.
TEST_CASE("budget: D2O's shares by hand", "[memory_bank][kv][budget]") {
  const std::vector<double> statistics = {0.1, 0.2, 0.3, 0.4};
  const std::vector<double> expected = {0.230921, 0.208946, 0.189062, 0.171071};
  const std::vector<double> shares = d2o_shares(statistics, 0.2);
  REQUIRE(shares.size() == 4);
  for (std::size_t layer = 0; layer < 4; ++layer) {
    CHECK_THAT(shares[layer], Catch::Matchers::WithinAbs(expected[layer], 1e-6));
  }
  const std::vector<double> apart = {0, 100};
  CHECK(d2o_shares(apart, 0.8) == std::vector<double>{1, 0.01});
}

TEST_CASE("budget: D2O gives less to a layer whose rows differ more", "[memory_bank][kv][budget]") {
  // Of two layers the statistics are 0 and 1: shares of 0.4 rows are 0.8 e / (1 + e) = 0.5848 and
  // 0.2152 of 100. The floor of 30 leaves 50 to the first layer.
  at::Tensor scores = random_scores(3, 2, 2, 100);
  scores[0] *= 0.1;
  BudgetOptions options{.budget = "d2o", .keep = 0.4, .floor_rows = 1, .keep_mask = {}};
  CHECK(share_rows(scores, options) == Counts{58, 58, 22, 22});
  options.floor_rows = 30;
  CHECK(share_rows(scores, options) == Counts{50, 50, 30, 30});
  // 0.9: shares of 1.316 and 0.484 are clamped, and what the first cannot take goes to the second.
  options.keep = 0.9;
  CHECK(share_rows(scores, options) == Counts{100, 100, 80, 80});
}

TEST_CASE("budget: each way of sharing keeps exactly as many rows as its rule says",
          "[memory_bank][kv][budget][property]") {
  const auto seed = GENERATE(range(0U, 5U));
  const double keep = GENERATE(0.05, 0.3, 0.5, 0.7, 1.0);
  const int64_t n = GENERATE(1, 9, 33, 150, 401);
  const int64_t masked = GENERATE(0, 30);
  CAPTURE(seed, keep, n, masked);
  constexpr int64_t kLayers = 3;
  constexpr int64_t kHeads = 2;
  constexpr int64_t kFloor = 8;
  BudgetOptions options{.budget = "", .keep = keep, .floor_rows = kFloor, .keep_mask = {}};
  options.keep_mask.assign(static_cast<std::size_t>(n), 0);
  std::fill_n(options.keep_mask.begin(), std::min(n, masked), uint8_t{1});
  const int64_t least = std::min(n, std::max(kFloor, masked));
  const at::Tensor scores = random_scores(seed, kLayers, kHeads, n);
  const auto share = [&](const char* budget) {
    options.budget = budget;
    return share_rows(scores, options);
  };
  const auto rounded = [&](int64_t parts) {
    return std::llround(keep * static_cast<double>(parts * n));
  };
  const auto total = [](const Counts& counts) {
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  };

  CHECK(share("uniform") == Counts(kLayers * kHeads, std::clamp<int64_t>(rounded(1), least, n)));

  const Counts global = share("global");
  CHECK(total(global) == std::max<int64_t>(rounded(kLayers * kHeads), kLayers * kHeads * least));
  CHECK(*std::min_element(global.begin(), global.end()) >= least);

  const Counts curves = share("curves");
  const auto fifth = std::ceil(0.2 * keep * static_cast<double>(n));
  const int64_t floor = std::min(n, std::max({int64_t{16}, static_cast<int64_t>(fifth), least}));
  int64_t of_layers = 0;
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    const int64_t rows = curves[layer * kHeads];
    CHECK(curves[layer * kHeads + 1] == rows);
    CHECK(rows >= floor);
    of_layers += rows;
  }
  CHECK(of_layers == std::max<int64_t>(rounded(kLayers), kLayers * floor));

  const Counts d2o = share("d2o");
  CHECK(total(d2o) == kHeads * std::max<int64_t>(rounded(kLayers), kLayers * least));
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    CHECK(d2o[layer * kHeads + 1] == d2o[layer * kHeads]);
  }
  CHECK(*std::min_element(d2o.begin(), d2o.end()) >= least);
  CHECK(*std::max_element(d2o.begin(), d2o.end()) <= n);
}

TEST_CASE("budget: curves leave a layer that scores nothing no less than its floor",
          "[memory_bank][kv][budget]") {
  // Of 3 layers of 150 rows 0.7 are 315. A fifth of a layer's 105 are 21, the others share 294.
  const at::Tensor scores = random_scores(4, 3, 2, 150).add_(1);
  scores[1].zero_();
  const BudgetOptions options{.budget = "curves", .keep = 0.7, .floor_rows = 8, .keep_mask = {}};
  const Counts counts = share_rows(scores, options);
  CHECK(counts[2] == 21);
  CHECK(counts[3] == 21);
  CHECK(counts[0] + counts[4] == 294);
}

TEST_CASE("budget: kept rows rise, are no row twice, and are the same on any number of threads",
          "[memory_bank][kv][budget][property]") {
  const auto seed = GENERATE(range(0U, 10U));
  const std::string budget = GENERATE(from_range(budget_names()));
  const double keep = GENERATE(0.05, 0.3, 0.7);
  const int64_t n = GENERATE(1, 9, 64, 150);
  CAPTURE(seed, budget, keep, n);
  BudgetOptions options{.budget = budget, .keep = keep, .floor_rows = 8, .keep_mask = {}};
  options.keep_mask.assign(static_cast<std::size_t>(n), 0);
  options.keep_mask[0] = 1;
  options.keep_mask[static_cast<std::size_t>(n) - 1] = 1;
  const at::Tensor scores = random_scores(seed, 3, 2, n);
  const KeptRows kept = choose_rows(scores, options);
  if (kept.everything()) {
    return;  // floors reach every row of short chunks
  }
  for (const Counts& tokens : kept_tokens(kept)) {
    CHECK(static_cast<int64_t>(tokens.size()) >= std::min<int64_t>(8, n));
    CHECK(std::adjacent_find(tokens.begin(), tokens.end(), std::greater_equal<>()) == tokens.end());
    CHECK(tokens.front() == 0);
    CHECK(tokens.back() == n - 1);
  }
  for (const int threads : {1, 2, 4}) {
    const tests::ThreadCount count(threads);
    const KeptRows again = choose_rows(scores, options);
    CHECK(again.counts == kept.counts);
    CHECK(kept_tokens(again) == kept_tokens(kept));
  }
}

TEST_CASE("budget: of equal scores the first tokens are kept, and the mask before any",
          "[memory_bank][kv][budget]") {
  const std::string budget = GENERATE(from_range(budget_names()));
  CAPTURE(budget);
  BudgetOptions options{.budget = budget, .keep = 0.3, .floor_rows = 1, .keep_mask = {}};
  options.keep_mask.assign(60, 0);
  options.keep_mask[57] = 1;
  const at::Tensor equal = at::full({2, 2, 60}, 0.5F);
  for (const Counts& tokens : kept_tokens(choose_rows(equal, options))) {
    CHECK(std::count(tokens.begin(), tokens.end(), 57) == 1);
    // The others are the first ones; global takes the first layer's before the next layer's.
    const auto others = static_cast<int64_t>(tokens.size()) - 1;
    for (int64_t i = 0; i < std::min<int64_t>(others, 57); ++i) {
      CHECK(tokens[static_cast<std::size_t>(i)] == i);
    }
  }
}

TEST_CASE("budget: a score that is not finite is refused", "[memory_bank][kv][budget]") {
  at::Tensor scores = random_scores(1, 1, 1, 20);
  scores[0][0][3] = NAN;
  CHECK_THROWS_AS(choose_rows(scores, {}), NumericError);
  BudgetOptions wrong;
  wrong.budget = "generous";
  CHECK_THROWS_AS(choose_rows(random_scores(1, 1, 1, 20), wrong), InvalidArgument);
}

}  // namespace alluvium::memory_bank
