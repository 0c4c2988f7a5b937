// Samples that cover a score's whole range: equal-width strata, each with an even share.
//
// Source : CCS (Zheng, Liu, Lai, Prakash, "Coverage-centric Coreset Selection for High Pruning Rates", ICLR 2023), as Adapt-inf uses it.
// Differs: the count is exact, and strata that collapse under one outlier are replaced by strata of equal counts.
// Threads: pure functions of their arguments and the generator.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "alluvium/core/random.h"

namespace alluvium::selectors {

struct CoverageOptions {
  int64_t budget = 0;
  int64_t bins = 50;
  double tail_low =
      0.05;  ///< share of the lowest scores that is drawn only when the rest is not enough; [0, 1)
  double tail_high = 0.05;  ///< the same for the highest
};

struct CoveragePlan {
  double lowest = 0;  ///< scores outside [lowest, highest] are tails
  double highest = 0;
  std::vector<int64_t> stratum;  ///< of each score; -1 in a tail
  std::vector<int64_t> counts;   ///< members of each stratum, low to high
  std::vector<int64_t> quotas;   ///< how many of them are drawn
  bool by_rank =
      false;  ///< fewer than three equal-width strata had a member: these hold equal counts
};

/// Scores must be finite. Throws InvalidArgument on a score that is not, bins < 1, a negative budget or tails outside [0, 1).
CoveragePlan plan_coverage(std::span<const double> scores, const CoverageOptions& options);

/// min(budget, scores) distinct indices, ascending; each stratum's are a uniform subset.
std::vector<int64_t> sample_coverage(std::span<const double> scores, const CoverageOptions& options,
                                     Random& random);

/// The bins that Adapt-inf's defaults give a cluster: a quarter of its budget, in [5, 50].
int64_t coverage_bins(int64_t budget);

}  // namespace alluvium::selectors
