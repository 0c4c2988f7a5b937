// How evenly a score spreads its samples: the entropy by which a cluster's scoring expert is chosen.
//
// Source : Adapt-inf (Maharana et al., ICLR 2025), "multi-way" expert choice.
// Differs: bins lie over standardised scores, so no unit matters. The reference scales its bin edges by the raw deviation; that rule is kept
//          to compare with.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <span>

namespace alluvium::selectors {

enum class EntropyRule {
  scale_free,  ///< 50 bins over the standardised score clipped to [-4, 4]
  reference,   ///< 49 bins (lo, hi] over +-4 raw deviations; what lies outside is dropped
};

/// Bits. Scores that are not finite are left out. 0 when the deviation is below 1e-12 or nothing is left; `reference` gives NaN when no
/// score falls into a bin, as the published code does.
double expert_entropy(std::span<const double> scores, EntropyRule rule = EntropyRule::scale_free);

}  // namespace alluvium::selectors
