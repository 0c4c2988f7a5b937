#include "kv/row_scores.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/avg_pool1d.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max_pool1d.h>

namespace alluvium::memory_bank {

at::Tensor vote(const at::Tensor& weights, int64_t kernel, Pooling pooling) {
  const at::Tensor mean = weights.mean(2);  // [kv_heads, group, n]
  const at::Tensor pooled = pooling == Pooling::average
                                ? at::avg_pool1d(mean, {kernel}, {1}, {kernel / 2})
                                : at::max_pool1d(mean, {kernel}, {1}, {kernel / 2});
  return pooled.mean(1);
}

at::Tensor probe_saliency(const at::Tensor& weights, const at::Tensor& probes) {
  const at::Tensor rows = at::arange(weights.size(3), probes.options());
  const at::Tensor seen_by = probes.unsqueeze(1).ge(rows.unsqueeze(0)).sum(0);  // [n]
  return weights.sum(2).mean(1) / seen_by.clamp_min(1);
}

at::Tensor difference_scores(const at::Tensor& keys) {
  const at::Tensor directions =
      keys / at::linalg_vector_norm(keys, 2, at::IntArrayRef{-1}, true).clamp_min(1e-12);
  const at::Tensor anchor = directions.mean(-2, /*keepdim=*/true);
  const at::Tensor length =
      at::linalg_vector_norm(anchor, 2, at::IntArrayRef{-1}, true).clamp_min(1e-12);
  return -(directions * (anchor / length)).sum(-1);
}

at::Tensor expected_logits(const at::Tensor& keys, const at::Tensor& mean,
                           const at::Tensor& covariance) {
  const auto d = static_cast<double>(keys.size(-1));
  const at::Tensor linear = at::matmul(keys, mean.unsqueeze(-1)).squeeze(-1) / std::sqrt(d);
  const at::Tensor square = (at::matmul(keys, covariance) * keys).sum(-1) / (2 * d);
  return linear + square;
}

}  // namespace alluvium::memory_bank
