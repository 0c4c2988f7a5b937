#include "alluvium/learners/adapter_average.h"

#include <cmath>

#include <ATen/ATen.h>

#include "alluvium/core/error.h"

namespace alluvium::learners {
namespace {

using backbone::AdapterState;
using backbone::LowRankFactors;

bool same_sizes(const LowRankFactors& left, const LowRankFactors& right) {
  return left.defined() == right.defined() &&
         (!left.defined() ||
          (left.a.sizes() == right.a.sizes() && left.b.sizes() == right.b.sizes()));
}

void check_alike(const AdapterState& first, const AdapterState& other, std::size_t index) {
  ALLUVIUM_CHECK(other.model == first.model && other.layers.size() == first.layers.size(),
                 "adapter {} belongs to another model than the first", index);
  ALLUVIUM_CHECK(other.scale == first.scale, "adapter {} has scale {}, the first {}", index,
                 other.scale, first.scale);
  for (std::size_t layer = 0; layer < first.layers.size(); ++layer) {
    for (const backbone::Projection p : backbone::kAllProjections) {
      ALLUVIUM_CHECK(same_sizes(first.layers[layer][p], other.layers[layer][p]),
                     "adapter {} has other factors for {} of layer {} than the first", index,
                     to_string(p), layer);
    }
  }
}

}  // namespace

AdapterState average_adapters(std::span<const WeightedAdapter> adapters) {
  ALLUVIUM_CHECK(!adapters.empty(), "there is no adapter to average");
  double sum = 0;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    ALLUVIUM_CHECK(adapters[i].weight > 0 && std::isfinite(adapters[i].weight),
                   "the weight of adapter {} must be positive, got {}", i, adapters[i].weight);
    check_alike(*adapters[0].state, *adapters[i].state, i);
    sum += adapters[i].weight;
  }
  AdapterState mean = *adapters[0].state;
  for (std::size_t layer = 0; layer < mean.layers.size(); ++layer) {
    for (const backbone::Projection p : backbone::kAllProjections) {
      LowRankFactors& factors = mean.layers[layer][p];
      if (!factors.defined()) {
        continue;
      }
      factors = {at::zeros_like(factors.a), at::zeros_like(factors.b)};
      for (const WeightedAdapter& adapter : adapters) {
        const LowRankFactors& part = adapter.state->layers[layer][p];
        factors.a.add_(part.a, adapter.weight / sum);
        factors.b.add_(part.b, adapter.weight / sum);
      }
    }
  }
  return mean;
}

}  // namespace alluvium::learners
