#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/learners/optimiser.h"
#include "optimiser_state.h"

namespace alluvium::learners {
namespace {

constexpr double kTiny = 1e-12;

/// [rank, rows], entries of mean 0 and variance 1 / rank, so that lengths are kept on average.
at::Tensor projection(int64_t rank, int64_t rows, uint64_t seed, const at::TensorOptions& like) {
  Random random(seed);
  at::Tensor drawn = at::empty({rank, rows}, at::kFloat);
  auto* at = drawn.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rank * rows; ++i) {
    at[i] = static_cast<float>(random.normal() / std::sqrt(static_cast<double>(rank)));
  }
  return drawn.to(like);
}

/// The matrix with its smaller side first.
at::Tensor lying(const at::Tensor& flat, const MatrixSpan& span) {
  const at::Tensor matrix =
      flat.narrow(0, span.begin, span.rows * span.columns).view({span.rows, span.columns});
  return span.rows <= span.columns ? matrix : matrix.t();
}

}  // namespace

Apollo::Apollo(const at::Tensor& parameters, std::vector<MatrixSpan> matrices,
               const AdamWOptions& adam_w, const ApolloOptions& options)
    : adam_w_(adam_w), options_(options), matrices_(std::move(matrices)) {
  check(adam_w);
  ALLUVIUM_CHECK(options.rank >= 1, "rank must be positive, got {}", options.rank);
  ALLUVIUM_CHECK(options.scale > 0, "scale must be positive, got {}", options.scale);
  ALLUVIUM_CHECK(options.refresh >= 1, "refresh must be positive, got {}", options.refresh);
  ALLUVIUM_CHECK(options.growth_limit >= 1, "growth_limit must be at least 1, got {}",
                 options.growth_limit);
  int64_t covered = 0;
  int64_t moments = 0;
  for (const MatrixSpan& span : matrices_) {
    ALLUVIUM_CHECK(span.begin == covered, "a matrix begins at {}, the one before ends at {}",
                   span.begin, covered);
    covered += span.rows * span.columns;
    begins_.push_back(moments);
    moments += std::min(options.rank, std::min(span.rows, span.columns)) *
               std::max(span.rows, span.columns);
  }
  ALLUVIUM_CHECK(covered == parameters.numel(), "the matrices have {} numbers of {}", covered,
                 parameters.numel());
  first_ = at::zeros({moments}, parameters.options());
  second_ = at::zeros({moments}, parameters.options());
  lengths_ = at::zeros({static_cast<int64_t>(matrices_.size())}, at::kFloat);
}

void Apollo::step(at::Tensor& parameters, const at::Tensor& gradient, double learning_rate) {
  const auto round = static_cast<uint64_t>(steps_ / options_.refresh);
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const double first_correction = 1 - std::pow(adam_w_.beta1, t);
  const double second_correction = std::sqrt(1 - std::pow(adam_w_.beta2, t));
  auto* lengths = lengths_.mutable_data_ptr<float>();
  parameters.mul_(1 - learning_rate * adam_w_.weight_decay);
  for (std::size_t i = 0; i < matrices_.size(); ++i) {
    const at::Tensor g = lying(gradient, matrices_[i]);
    const int64_t rank = std::min(options_.rank, g.size(0));
    const uint64_t seed = (options_.seed * 1000003 + round) * matrices_.size() + i;
    const at::Tensor seen = at::mm(projection(rank, g.size(0), seed, g.options()), g);
    const auto moment = [&](const at::Tensor& all) {
      return all.narrow(0, begins_[i], seen.numel()).view(seen.sizes());
    };
    at::Tensor first = moment(first_);
    at::Tensor second = moment(second_);
    first.mul_(adam_w_.beta1).add_(seen, 1 - adam_w_.beta1);
    second.mul_(adam_w_.beta2).addcmul_(seen, seen, 1 - adam_w_.beta2);
    const at::Tensor moved = (first / first_correction)
                                 .div_(second.sqrt().div_(second_correction).add_(adam_w_.epsilon));
    // How much longer Adam's step is than the gradient, seen through the projection.
    const at::Tensor factor = options_.tensor_wise
                                  ? moved.norm() / (seen.norm() + kTiny)
                                  : moved.norm(2, {0}) / (seen.norm(2, {0}) + kTiny);
    at::Tensor update = g * factor;
    auto length = update.norm().item<double>();
    const double limit = options_.growth_limit * lengths[i];
    if (limit > 0 && length > limit) {
      update.mul_(limit / length);
      length = limit;
    }
    lengths[i] = static_cast<float>(length);
    lying(parameters, matrices_[i]).sub_(update, learning_rate * std::sqrt(options_.scale));
  }
}

backbone::TensorMap Apollo::state() const {
  return {{"apollo.first", first_},
          {"apollo.second", second_},
          {"apollo.lengths", lengths_},
          {"apollo.steps", at::full({1}, steps_, at::kLong)}};
}

void Apollo::restore(const backbone::TensorMap& state) {
  const at::Tensor first = require_tensor(state, "apollo.first", first_.numel());
  const at::Tensor second = require_tensor(state, "apollo.second", second_.numel());
  const at::Tensor lengths = require_tensor(state, "apollo.lengths", lengths_.numel());
  steps_ = require_tensor(state, "apollo.steps", 1).const_data_ptr<int64_t>()[0];
  first_.copy_(first);
  second_.copy_(second);
  lengths_.copy_(lengths);
}

}  // namespace alluvium::learners
