// The mean of several adapters.
//
// Purpose: one adapter as good as, often better than, each of several that were trained further from the same one on different data or
//          seeds, at the cost of one.
// Source : "model soups", Wortsman et al., ICML 2022, section 2 (uniform soup), applied to the factors.
// Differs: the factors A and B are averaged, not their product, whose rank would be the sum of the ranks. That is close to the mean of the
//          products only while the adapters are near each other, as those of one ancestor are; adapters of different beginnings have no
//          useful mean, and nothing here can tell.
// Threads: thread-safe function.
#pragma once

#include <span>

#include "alluvium/backbone/adapter.h"

namespace alluvium::learners {

struct WeightedAdapter {
  const backbone::AdapterState* state = nullptr;
  double weight = 1;  ///< positive and finite; the weights are divided by their sum
};

/// Throws InvalidArgument when there is no adapter, a weight is out of bounds, or models, scales, adapted matrices or ranks differ.
backbone::AdapterState average_adapters(std::span<const WeightedAdapter> adapters);

}  // namespace alluvium::learners
