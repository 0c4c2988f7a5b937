#include "kv/nearest_rows.h"

#include <tuple>

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/max.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/ones.h>

namespace alluvium::memory_bank {

at::Tensor length_of(const at::Tensor& rows) {
  return at::linalg_vector_norm(rows, 2, at::IntArrayRef{-1}, /*keepdim=*/true).clamp_min(1e-12);
}

NearestRows nearest_rows(const at::Tensor& keys, const at::Tensor& kept) {
  at::Tensor left = at::ones({keys.size(0)}, at::TensorOptions().dtype(at::kBool));
  left.index_fill_(0, kept, false);
  NearestRows nearest;
  nearest.evicted = at::nonzero(left).squeeze(1);
  if (nearest.evicted.size(0) > 0) {
    const at::Tensor directions = keys / length_of(keys);
    std::tie(nearest.cosine, nearest.target) =
        at::max(at::matmul(at::index_select(directions, 0, nearest.evicted),
                           at::index_select(directions, 0, kept).t()),
                1);
  }
  return nearest;
}

}  // namespace alluvium::memory_bank
