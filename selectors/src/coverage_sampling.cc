#include "alluvium/selectors/coverage_sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "alluvium/core/error.h"
#include "alluvium/selectors/water_filling.h"

namespace alluvium::selectors {
namespace {

int64_t non_empty(const std::vector<int64_t>& counts) {
  return std::ssize(counts) - std::count(counts.begin(), counts.end(), 0);
}

// A uniform subset of `members`, which it reorders.
void draw(std::vector<int64_t>& members, int64_t count, Random& random,
          std::vector<int64_t>& drawn) {
  random.shuffle(members);
  drawn.insert(drawn.end(), members.begin(), members.begin() + count);
}

}  // namespace

int64_t coverage_bins(int64_t budget) { return std::clamp<int64_t>(budget / 4, 5, 50); }

CoveragePlan plan_coverage(std::span<const double> scores, const CoverageOptions& options) {
  ALLUVIUM_CHECK(options.bins >= 1, "bins must be at least 1, got {}", options.bins);
  ALLUVIUM_CHECK(options.budget >= 0, "budget must not be negative, got {}", options.budget);
  for (const double tail : {options.tail_low, options.tail_high}) {
    ALLUVIUM_CHECK(tail >= 0 && tail < 1, "tails must lie in [0, 1), got {}", tail);
  }
  for (const double score : scores) {
    ALLUVIUM_CHECK(std::isfinite(score), "a score to cover must be finite, got {}", score);
  }
  CoveragePlan plan;
  plan.counts.resize(static_cast<std::size_t>(options.bins));
  plan.stratum.resize(scores.size(), -1);
  if (!scores.empty()) {
    std::vector<double> sorted(scores.begin(), scores.end());
    std::sort(sorted.begin(), sorted.end());
    const auto n = static_cast<double>(scores.size());
    const auto at = [&](double share) {
      return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(std::floor(share * n)))];
    };
    plan.lowest = at(options.tail_low);
    plan.highest = at(1 - options.tail_high);
  }
  std::vector<int64_t> core;
  const double width = (plan.highest - plan.lowest) / static_cast<double>(options.bins);
  for (std::size_t j = 0; j < scores.size(); ++j) {
    if (scores[j] >= plan.lowest && scores[j] <= plan.highest) {
      const double place = width > 0 ? std::floor((scores[j] - plan.lowest) / width) : 0.0;
      plan.stratum[j] = std::min(options.bins - 1, static_cast<int64_t>(std::min(place, 1e15)));
      ++plan.counts[static_cast<std::size_t>(plan.stratum[j])];
      core.push_back(static_cast<int64_t>(j));
    }
  }
  if (width > 0 && options.bins >= 3 && non_empty(plan.counts) < 3 && core.size() >= 3) {
    plan.by_rank = true;
    std::stable_sort(core.begin(), core.end(), [&](int64_t a, int64_t b) {
      return scores[static_cast<std::size_t>(a)] < scores[static_cast<std::size_t>(b)];
    });
    std::fill(plan.counts.begin(), plan.counts.end(), 0);
    for (std::size_t rank = 0; rank < core.size(); ++rank) {
      const std::size_t bin = rank * static_cast<std::size_t>(options.bins) / core.size();
      plan.stratum[static_cast<std::size_t>(core[rank])] = static_cast<int64_t>(bin);
      ++plan.counts[bin];
    }
  }
  plan.quotas = water_fill(plan.counts, std::min(options.budget, std::ssize(core)));
  return plan;
}

std::vector<int64_t> sample_coverage(std::span<const double> scores, const CoverageOptions& options,
                                     Random& random) {
  const CoveragePlan plan = plan_coverage(scores, options);
  std::vector<std::vector<int64_t>> members(plan.counts.size());
  std::vector<int64_t> tails;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    const int64_t stratum = plan.stratum[j];
    (stratum < 0 ? tails : members[static_cast<std::size_t>(stratum)])
        .push_back(static_cast<int64_t>(j));
  }
  std::vector<int64_t> drawn;
  for (std::size_t b = 0; b < members.size(); ++b) {
    draw(members[b], plan.quotas[b], random, drawn);
  }
  const int64_t wanted = std::min(options.budget, std::ssize(scores));
  draw(tails, wanted - std::ssize(drawn), random, drawn);
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

}  // namespace alluvium::selectors
