#include "kv/merge.h"

#include <tuple>

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>

namespace alluvium::memory_bank {
namespace {

at::Tensor length_of(const at::Tensor& rows) {
  return at::linalg_vector_norm(rows, 2, at::IntArrayRef{-1}, /*keepdim=*/true).clamp_min(1e-12);
}

void merge_slot_(const at::Tensor& keys, at::Tensor values, const at::Tensor& kept) {
  at::Tensor left = at::ones({keys.size(0)}, at::TensorOptions().dtype(at::kBool));
  left.index_fill_(0, kept, false);
  const at::Tensor evicted = at::nonzero(left).squeeze(1);
  if (evicted.size(0) == 0) {
    return;
  }
  const at::Tensor directions = keys / length_of(keys);
  const auto [cosine, target] = at::max(at::matmul(at::index_select(directions, 0, evicted),
                                                   at::index_select(directions, 0, kept).t()),
                                        1);
  const at::Tensor theirs = at::index_select(values, 0, evicted);
  const at::Tensor ours = at::index_select(values, 0, kept);
  const at::Tensor their_length = length_of(theirs).squeeze(1);
  const at::Tensor our_length = at::index_select(length_of(ours).squeeze(1), 0, target);
  const at::Tensor weight = cosine.clamp_min(0) * their_length / (their_length + our_length);
  at::Tensor sum = ours.clone();
  sum.index_add_(0, target, theirs * weight.unsqueeze(1));
  at::Tensor total = at::ones({kept.size(0)}, values.options());
  total.index_add_(0, target, weight);
  values.index_copy_(0, kept, sum / total.unsqueeze(1));
}

}  // namespace

at::Tensor merge_values(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept) {
  const at::Tensor all_keys = keys.to(at::kFloat);
  at::Tensor merged = values.to(at::kFloat).clone();
  int64_t first = 0;
  const int64_t heads = keys.size(1);
  for (std::size_t slot = 0; slot < kept.counts.size(); ++slot) {
    const auto layer = static_cast<int64_t>(slot) / heads;
    const auto head = static_cast<int64_t>(slot) % heads;
    merge_slot_(all_keys[layer][head], merged[layer][head],
                kept.positions.narrow(0, first, kept.counts[slot]));
    first += kept.counts[slot];
  }
  return merged;
}

}  // namespace alluvium::memory_bank
