// Grouped-query attention of new tokens over a prefix and over themselves.
//
// Source : Ainslie et al., "GQA", 2023; softmax parts merged by log-sum-exp as in APE (Yang et al.,
// 2025) when a temperature or scale is set. Differs: the query heads of a group stand as rows
// beside each other, so keys and values are never repeated. Threads: pure functions; use ATen's
// intra-operator threads.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace alluvium::backbone {

/// What the rows of one sequence may see, built once a read and shared by all layers.
struct AttentionView {
  int64_t slots_before = 0;  ///< visible to every row; row i also sees the i + 1 slots after them
  at::Tensor log_bias;       ///< float32 [slots_before + n] or undefined
  int64_t context_begin =
      0;  ///< slots with temperature and scale; an empty range is plain attention
  int64_t context_end = 0;
  double temperature = 1.0;
  double lse_scale = 1.0;
  at::Tensor mask;  ///< made by make_mask(); undefined when a row kernel needs none

  bool plain() const {
    return context_begin >= context_end || (temperature == 1.0 && lse_scale == 1.0);
  }
};

/// Additive mask [n * group, slots_before + n] of `options`: 0 or the bias where visible, -inf
/// elsewhere.
at::Tensor make_mask(const AttentionView& view, int64_t n, int64_t group,
                     const at::TensorOptions& options);

/// queries: [n, heads, head_dim] rotated; keys, values: [kv_heads, slots_before + n, head_dim], may
/// be strided between heads. Returns [n, heads * head_dim] in the dtype of the queries; scores and
/// sums in float32.
at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                  const AttentionView& view);

}  // namespace alluvium::backbone
