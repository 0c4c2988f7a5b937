// Even shares under capacities.
//
// Source : Adapt-inf (Maharana, Yoon, Chen, Bansal, ICLR 2025): the budget of a cluster and of a stratum.
// Differs: the reference rounds each share up and overshoots; this sums exactly to what was asked for.
// Threads: pure function.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace alluvium::selectors {

/// Shares of `total`, each at most its capacity, as even as that allows; they sum to min(total, sum of capacities). What does not divide
/// goes to the largest capacities, of equal ones to the last. Throws InvalidArgument on a negative number.
std::vector<int64_t> water_fill(std::span<const int64_t> capacities, int64_t total);

}  // namespace alluvium::selectors
