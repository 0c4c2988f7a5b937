#include "kv/merge_alike.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>

#include "kv/nearest_rows.h"

namespace alluvium::memory_bank {
namespace {

/// The least cosine of a row to its class's centre in ems.
constexpr double kOfClass = 0.6;

/// R(-t) of rows [n, head_dim] with positions int64 [n].
at::Tensor turn_back(const at::Tensor& rows, const at::Tensor& positions,
                     const backbone::Rope& rope) {
  const int64_t half = rows.size(1) / 2;
  const at::Tensor cos = rope.cosines(positions);
  const at::Tensor sin = rope.sines(positions);
  const at::Tensor first = rows.narrow(1, 0, half);
  const at::Tensor second = rows.narrow(1, half, half);
  return at::cat({first * cos + second * sin, second * cos - first * sin}, 1);
}

/// Which evicted rows of a slot join which kept ones, and what each weighs.
struct Joining {
  at::Tensor rows;     // int64 [joining], of the chunk
  at::Tensor targets;  // int64 [joining], among the kept rows
  at::Tensor weights;  // [joining]
  at::Tensor own;      // [kept]
};

/// The evicted rows that `join` ([evicted], bool) marks, with their weights.
Joining those(const NearestRows& nearest, const at::Tensor& join, const at::Tensor& weights,
              const at::Tensor& own) {
  const at::Tensor chosen = at::nonzero(join).squeeze(1);
  return {at::index_select(nearest.evicted, 0, chosen), at::index_select(nearest.target, 0, chosen),
          at::index_select(weights, 0, chosen), own};
}

/// Weighted means of the kept rows [kept, d] and of those that join them.
at::Tensor joined(const at::Tensor& all, const at::Tensor& kept, const Joining& joining) {
  at::Tensor sum = at::index_select(all, 0, kept) * joining.own.unsqueeze(1);
  sum.index_add_(0, joining.targets,
                 at::index_select(all, 0, joining.rows) * joining.weights.unsqueeze(1));
  at::Tensor total = joining.own.clone();
  total.index_add_(0, joining.targets, joining.weights);
  return sum / total.unsqueeze(1);
}

/// choose(layer, head, nearest): a slot's Joining.
template <class Choose>
MergedRows merge(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                 const backbone::Rope& rope, bool keep_length, const Choose& choose) {
  const at::Tensor all_keys = keys.to(at::kFloat);
  const at::Tensor all_values = values.to(at::kFloat);
  const at::Tensor rotated = rope.rotate(all_keys, at::arange(keys.size(2), at::kLong));
  MergedRows merged{all_keys.clone(), all_values.clone()};
  int64_t first = 0;
  const int64_t heads = keys.size(1);
  for (std::size_t slot = 0; slot < kept.counts.size(); ++slot) {
    const auto layer = static_cast<int64_t>(slot) / heads;
    const auto head = static_cast<int64_t>(slot) % heads;
    const at::Tensor positions = kept.positions.narrow(0, first, kept.counts[slot]);
    first += kept.counts[slot];
    const at::Tensor here = rotated[layer][head];
    const NearestRows nearest = nearest_rows(here, positions);
    if (nearest.evicted.size(0) == 0) {
      continue;
    }
    const Joining joining = choose(layer, head, positions, nearest);
    at::Tensor is_target = at::zeros_like(positions, at::TensorOptions().dtype(at::kBool));
    is_target.index_fill_(0, joining.targets, true);
    const at::Tensor touched = at::nonzero(is_target).squeeze(1);
    const at::Tensor places = at::index_select(positions, 0, touched);
    at::Tensor new_keys = at::index_select(joined(here, positions, joining), 0, touched);
    if (keep_length) {
      new_keys = new_keys * (length_of(at::index_select(here, 0, places)) / length_of(new_keys));
    }
    merged.keys[layer][head].index_copy_(0, places, turn_back(new_keys, places, rope));
    merged.values[layer][head].index_copy_(
        0, places,
        at::index_select(joined(all_values[layer][head], positions, joining), 0, touched));
  }
  return merged;
}

}  // namespace

MergedRows merge_d2o(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                     const backbone::Rope& rope) {
  return merge(keys, values, kept, rope, /*keep_length=*/false,
               [](int64_t, int64_t, const at::Tensor& positions, const NearestRows& nearest) {
                 return those(nearest, nearest.cosine.ge(nearest.cosine.mean()),
                              at::exp(nearest.cosine),
                              at::ones({positions.size(0)}, at::kFloat) * std::exp(1.0));
               });
}

MergedRows merge_ems(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                     const at::Tensor& scores, const backbone::Rope& rope) {
  return merge(
      keys, values, kept, rope, /*keep_length=*/true,
      [&](int64_t layer, int64_t head, const at::Tensor& positions, const NearestRows& nearest) {
        // A centre always weighs something, or its class could weigh nothing in all.
        const at::Tensor weights = scores[layer][head].clamp_min(0);
        return those(nearest, nearest.cosine.ge(kOfClass),
                     at::index_select(weights, 0, nearest.evicted),
                     at::index_select(weights, 0, positions).clamp_min(1e-12));
      });
}

}  // namespace alluvium::memory_bank
