#include "alluvium/learners/optimiser.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include "alluvium/core/error.h"
#include "optimiser_state.h"

namespace alluvium::learners {

void check(const AdamWOptions& options) {
  ALLUVIUM_CHECK(options.beta1 >= 0 && options.beta1 < 1, "beta1 must lie in [0, 1), got {}",
                 options.beta1);
  ALLUVIUM_CHECK(options.beta2 >= 0 && options.beta2 < 1, "beta2 must lie in [0, 1), got {}",
                 options.beta2);
  ALLUVIUM_CHECK(options.weight_decay >= 0, "weight_decay must not be negative, got {}",
                 options.weight_decay);
}

AdamW::AdamW(const at::Tensor& parameters, const AdamWOptions& options)
    : options_(options), first_(at::zeros_like(parameters)), second_(at::zeros_like(parameters)) {
  check(options);
}

void AdamW::step(at::Tensor& parameters, const at::Tensor& gradient, double learning_rate) {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  first_.mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
  second_.mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
  const double first_correction = 1 - std::pow(options_.beta1, t);
  const double second_correction = std::sqrt(1 - std::pow(options_.beta2, t));
  parameters.mul_(1 - learning_rate * options_.weight_decay);
  const at::Tensor denominator = second_.sqrt().div_(second_correction).add_(options_.epsilon);
  parameters.addcdiv_(first_, denominator, -learning_rate / first_correction);
}

backbone::TensorMap AdamW::state() const {
  return {{"adam_w.first", first_},
          {"adam_w.second", second_},
          {"adam_w.steps", at::full({1}, steps_, at::kLong)}};
}

void AdamW::restore(const backbone::TensorMap& state) {
  const at::Tensor first = require_tensor(state, "adam_w.first", first_.numel());
  const at::Tensor second = require_tensor(state, "adam_w.second", second_.numel());
  steps_ = require_tensor(state, "adam_w.steps", 1).const_data_ptr<int64_t>()[0];
  first_.copy_(first);
  second_.copy_(second);
}

double clip_norm_(at::Tensor& gradient, double limit) {
  const auto norm = gradient.norm().item<double>();
  if (std::isfinite(norm) && norm > limit) {
    gradient.mul_(limit / norm);
  }
  return norm;
}

double LearningRate::at(int64_t step) const {
  if (step < warm_up_steps) {
    return highest * static_cast<double>(step + 1) / static_cast<double>(warm_up_steps);
  }
  const auto span = static_cast<double>(std::max<int64_t>(steps - warm_up_steps, 1));
  const double done = std::min(1.0, static_cast<double>(step - warm_up_steps) / span);
  switch (decay) {
    case Decay::linear:
      return highest * (1 - done);
    case Decay::cosine:
      return highest * 0.5 * (1 + std::cos(std::numbers::pi * done));
    case Decay::none:
      return highest;
  }
  throw InternalError("a decay outside its enumeration");
}

}  // namespace alluvium::learners
