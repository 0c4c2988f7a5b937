// Shares, strata and entropies. The numbers of the worked examples were made in double precision by plain Python.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "alluvium/core/error.h"
#include "alluvium/selectors/coverage_sampling.h"
#include "alluvium/selectors/expert_entropy.h"
#include "alluvium/selectors/water_filling.h"
#include "support/catch.h"

namespace alluvium::selectors {
namespace {

using Catch::Matchers::WithinAbs;
using Numbers = std::vector<int64_t>;

std::vector<double> spaced(int count, double first, double step) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i) {
    values.push_back(first + step * i);
  }
  return values;
}

std::vector<double> scaled(std::vector<double> values, double factor) {
  for (double& value : values) {
    value *= factor;
  }
  return values;
}

TEST_CASE("water_fill: worked shares", "[selectors][adapt_inf]") {
  const Numbers four = {5, 40, 100, 300};
  CHECK(water_fill(four, 100) == Numbers{5, 31, 32, 32});
  CHECK(water_fill(four, 21) == Numbers{5, 5, 5, 6});
  CHECK(water_fill(four, 445) == four);
  CHECK(water_fill(four, 10'000) == four);
  CHECK(water_fill(Numbers{10, 10, 10}, 25) == Numbers{8, 8, 9});
  CHECK(water_fill(Numbers{3, 50, 7, 90, 20}, 60) == Numbers{3, 17, 7, 17, 16});
  CHECK(water_fill(Numbers{}, 5).empty());
  CHECK_THROWS_AS(water_fill(Numbers{-1}, 5), InvalidArgument);
}

TEST_CASE("water_fill: sums exactly, and no share could be evened out further",
          "[selectors][adapt_inf][property]") {
  const uint64_t seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  Numbers capacities;
  for (uint64_t i = random.below(12); i > 0; --i) {
    capacities.push_back(static_cast<int64_t>(random.below(50)));
  }
  const auto total = static_cast<int64_t>(random.below(400));
  const Numbers shares = water_fill(capacities, total);
  const int64_t most = std::accumulate(capacities.begin(), capacities.end(), int64_t{0});
  CHECK(std::accumulate(shares.begin(), shares.end(), int64_t{0}) == std::min(total, most));
  int64_t highest = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    CHECK(shares[i] <= capacities[i]);
    highest = std::max(highest, shares[i]);
  }
  for (std::size_t i = 0; i < shares.size(); ++i) {
    CHECK((shares[i] == capacities[i] || shares[i] >= highest - 1));
  }
}

TEST_CASE("coverage: worked strata and quotas", "[selectors][adapt_inf]") {
  CoveragePlan plan = plan_coverage(spaced(100, 0.005, 0.01), {.budget = 30, .bins = 7});
  CHECK_THAT(plan.lowest, WithinAbs(0.055, 1e-12));
  CHECK_THAT(plan.highest, WithinAbs(0.955, 1e-12));
  CHECK(plan.counts == Numbers{13, 13, 13, 13, 13, 13, 13});
  CHECK(plan.quotas == Numbers{4, 4, 4, 4, 4, 5, 5});

  std::vector<double> skewed = spaced(80, 0, 0.5);
  const std::vector<double> high = spaced(20, 100, 7);
  skewed.insert(skewed.end(), high.begin(), high.end());
  plan = plan_coverage(skewed, {.budget = 30, .bins = 6});
  CHECK(plan.lowest == 2.5);
  CHECK(plan.highest == 205);
  CHECK(plan.counts == Numbers{68, 7, 1, 5, 5, 5});
  CHECK(plan.quotas == Numbers{7, 7, 1, 5, 5, 5});

  std::vector<double> few = spaced(40, 0, 0.3);
  const std::vector<double> outliers = spaced(10, 60, 11);
  few.insert(few.end(), outliers.begin(), outliers.end());
  plan = plan_coverage(few, {.budget = 20, .bins = 4});
  CHECK_THAT(plan.lowest, WithinAbs(0.6, 1e-12));
  CHECK(plan.highest == 137);
  CHECK(plan.counts == Numbers{38, 1, 3, 4});
  CHECK(plan.quotas == Numbers{12, 1, 3, 4});
}

TEST_CASE("coverage: exact counts, no doubles, tails last, the same by the same seed",
          "[selectors][adapt_inf][property]") {
  const uint64_t seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  std::vector<double> scores;
  for (uint64_t i = random.below(300); i > 0; --i) {
    scores.push_back(std::exp(2 * random.normal()));
  }
  const CoverageOptions options{.budget = static_cast<int64_t>(random.below(350)),
                                .bins = 1 + static_cast<int64_t>(random.below(50))};
  Random first(seed + 1);
  Random second(seed + 1);
  const Numbers drawn = sample_coverage(scores, options, first);
  CHECK(drawn == sample_coverage(scores, options, second));
  CHECK(std::ssize(drawn) == std::min(options.budget, std::ssize(scores)));
  CHECK(std::set<int64_t>(drawn.begin(), drawn.end()).size() == drawn.size());
  const CoveragePlan plan = plan_coverage(scores, options);
  const int64_t core = std::accumulate(plan.counts.begin(), plan.counts.end(), int64_t{0});
  for (const int64_t i : drawn) {
    CHECK((options.budget > core || plan.stratum[static_cast<std::size_t>(i)] >= 0));
  }
}

TEST_CASE("coverage: strata that one outlier collapses become strata of equal counts",
          "[selectors][adapt_inf]") {
  std::vector<double> scores = spaced(50, 0, 0.001);
  scores.push_back(1e6);
  const CoveragePlan plan =
      plan_coverage(scores, {.budget = 20, .bins = 5, .tail_low = 0, .tail_high = 0});
  CHECK(plan.by_rank);
  CHECK(plan.quotas == Numbers{4, 4, 4, 4, 4});
  CHECK_THROWS_AS(plan_coverage(std::vector<double>{NAN}, {.budget = 1}), InvalidArgument);
}

TEST_CASE("expert entropy: worked values and no unit", "[selectors][adapt_inf]") {
  const std::vector<double> even = spaced(20, 0, 1.0 / 19);
  for (const double unit : {1.0, 10.0, 0.01}) {
    CHECK_THAT(expert_entropy(scaled(even, unit)), WithinAbs(4.321928, 1e-6));
  }
  CHECK_THAT(expert_entropy(even, EntropyRule::reference), WithinAbs(3.807355, 1e-6));
  CHECK_THAT(expert_entropy(scaled(even, 10), EntropyRule::reference), WithinAbs(2.795462, 1e-6));
  CHECK(std::isnan(expert_entropy(scaled(even, 0.01), EntropyRule::reference)));

  std::vector<double> halves(10, 0.0);
  halves.resize(20, 1.0);
  CHECK_THAT(expert_entropy(halves), WithinAbs(1.0, 1e-12));
  CHECK_THAT(expert_entropy(halves, EntropyRule::reference), WithinAbs(1.0, 1e-9));

  std::vector<double> outliers(18, 0.1);
  outliers.insert(outliers.end(), {0.9, 1.0});
  CHECK_THAT(expert_entropy(outliers), WithinAbs(0.568996, 1e-6));
  CHECK(expert_entropy(outliers, EntropyRule::reference) < 1e-11);

  CHECK_THAT(expert_entropy(std::vector<double>{1, 1, 1, 1, 1, 1, 1, 9}),
             WithinAbs(0.543564, 1e-6));
  CHECK_THAT(expert_entropy(spaced(8, 1, 1)), WithinAbs(3.0, 1e-12));
  CHECK_THAT(expert_entropy(spaced(8, 0.1, 0.1)), WithinAbs(3.0, 1e-12));
  CHECK(expert_entropy(std::vector<double>(9, 0.3)) == 0);
  CHECK(expert_entropy({}) == 0);
  CHECK_THAT(expert_entropy(std::vector<double>{1, 2, NAN}), WithinAbs(1.0, 1e-12));
}

}  // namespace
}  // namespace alluvium::selectors
