#include "alluvium/learners/lora.h"

#include <algorithm>
#include <cmath>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"

namespace alluvium::learners {
namespace {

using backbone::AdapterState;
using backbone::Decoder;
using backbone::LayerFactors;
using backbone::LowRankFactors;
using backbone::Projection;

at::TensorOptions parameter_options(const Decoder& decoder) {
  const bool wide = decoder.policy().dtype == at::kDouble;
  return at::TensorOptions(wide ? at::kDouble : at::kFloat).device(decoder.policy().device);
}

at::Tensor uniform(Random& random, int64_t rows, int64_t columns, double bound) {
  at::Tensor tensor = at::empty({rows, columns}, at::kFloat);
  auto* at = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows * columns; ++i) {
    at[i] = static_cast<float>((2 * random.uniform() - 1) * bound);
  }
  return tensor;
}

void check(const LoraOptions& options) {
  ALLUVIUM_CHECK(options.rank >= 1 && options.rank <= 256, "rank must lie in [1, 256], got {}",
                 options.rank);
  ALLUVIUM_CHECK(options.alpha > 0 && std::isfinite(options.alpha),
                 "alpha must be positive and finite, got {}", options.alpha);
  ALLUVIUM_CHECK(!options.projections.empty(), "an adapter needs at least one projection");
  for (const Projection p : options.projections) {
    ALLUVIUM_CHECK(std::count(options.projections.begin(), options.projections.end(), p) == 1,
                   "projection {} is named twice", to_string(p));
  }
}

// Calls visit(factors) for each pair of factors there is, in order of layer and projection.
template <class Layers, class Visit>
void for_each(Layers& layers, Visit visit) {
  for (auto& layer : layers) {
    for (auto& factors : layer.of) {
      if (factors.defined()) {
        visit(factors);
      }
    }
  }
}

}  // namespace

double LoraOptions::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rank_stabilised ? std::sqrt(r) : r);
}

Lora::Lora(const Decoder& decoder, const LoraOptions& options) {
  check(options);
  const auto placed = parameter_options(decoder);
  Random random(options.seed);
  std::vector<LayerFactors> layers(decoder.geometry().layers);
  for (LayerFactors& layer : layers) {
    for (const Projection p : options.projections) {
      const backbone::ProjectionShape shape = backbone::shape_of(decoder.geometry(), p);
      const double bound = 1.0 / std::sqrt(static_cast<double>(shape.in));
      layer[p].a = uniform(random, options.rank, shape.in, bound).to(placed);
      layer[p].b = at::zeros({shape.out, options.rank}, placed);
    }
  }
  state_.model = decoder.model();
  state_.scale = options.scale();
  bind(layers);
}

Lora::Lora(const Decoder& decoder, const AdapterState& start) {
  decoder.prepare(start);  // for its checks
  const auto placed = parameter_options(decoder);
  std::vector<LayerFactors> layers = start.layers;
  for_each(layers, [&](LowRankFactors& factors) {
    factors.a = factors.a.detach().to(placed);
    factors.b = factors.b.detach().to(placed);
  });
  state_.model = start.model;
  state_.scale = start.scale;
  bind(layers);
}

void Lora::bind(const std::vector<LayerFactors>& start) {
  const at::NoGradGuard no_gradient;
  std::vector<at::Tensor> flat;
  for_each(start, [&](const LowRankFactors& factors) {
    flat.push_back(factors.a.flatten());
    flat.push_back(factors.b.flatten());
  });
  parameters_ = at::cat(flat, 0);
  gradient_ = at::zeros_like(parameters_);
  state_.layers = start;
  int64_t begin = 0;
  const auto view = [&](at::Tensor& factor) {
    const auto shape = factor.sizes().vec();
    const int64_t n = factor.numel();
    matrices_.push_back({begin, shape[0], shape[1]});
    factor = parameters_.narrow(0, begin, n).view(shape);
    factor.requires_grad_(true);
    factor.mutable_grad() = gradient_.narrow(0, begin, n).view(shape);
    begin += n;
  };
  for_each(state_.layers, [&](LowRankFactors& factors) {
    view(factors.a);
    view(factors.b);
  });
}

void Lora::zero_gradient() { gradient_.zero_(); }

AdapterState Lora::copy() const {
  AdapterState copied = state_;
  for_each(copied.layers, [](LowRankFactors& factors) {
    factors.a = factors.a.detach().clone();
    factors.b = factors.b.detach().clone();
  });
  return copied;
}

}  // namespace alluvium::learners
