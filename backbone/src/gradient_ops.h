// Model operations that record a gradient with respect to their first argument only.
//
// Purpose: what negative_log_likelihood() is made of. Weights, contexts and positions are constants, so the backward passes skip them.
// Threads: pure functions; CPU work uses ATen's intra-operator threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/rope.h"

namespace alluvium::backbone {

/// x: [rows, d] float32 (or float64), weight: [d] -> [rows, d] in `dtype`.
at::Tensor rms_norm_with_gradient(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                                  at::ScalarType dtype);

/// gate_up: [rows, 2 d_ff] -> silu(gate) * up, [rows, d_ff].
at::Tensor swiglu_with_gradient(const at::Tensor& gate_up);

/// Rows that attend to one context, and to earlier rows of their own sequence.
struct AttentionGroup {
  int64_t begin = 0;  ///< first row
  int64_t rows = 0;
  int64_t slots = 0;  ///< of the context
  /// All layers' [layers, kv_heads, capacity, head_dim], rotated; the first `slots` are used
  at::Tensor keys;
  at::Tensor values;
  at::Tensor mask;  ///< [rows, slots + rows], 0 or the log bias where visible, -inf elsewhere
  /// [layers, kv_heads, slots], added to the mask where layers and heads differ; else undefined
  at::Tensor head_bias;
};

/// Groups whose products are made at once, padded to the longest: a GPU waits for the start of each operation longer than for its work.
struct AttentionBatch {
  int64_t begin = 0;  ///< first row of the first group
  int64_t rows = 0;   ///< of all groups
  int64_t groups = 0;
  int64_t longest = 0;  ///< rows of a group, padding included
  int64_t slots = 0;    ///< of a context, padding included
  at::Tensor keys;      ///< [layers, groups, kv_heads, slots, head_dim]
  at::Tensor values;
  at::Tensor mask;       ///< [groups, longest, slots + longest]; a row of padding sees itself
  at::Tensor head_bias;  ///< [layers, groups, kv_heads, slots] or undefined
  /// int64 [groups * longest], the batch's row at each place, 0 at padding, and int64 [rows], the place of each row; undefined when
  /// there is one group.
  at::Tensor row_at;
  at::Tensor place_of;
};

/// One batch a group, or one of all. `groups` cover their rows without a gap and have one number of layers, heads and channels.
std::vector<AttentionBatch> batch_groups(const std::vector<AttentionGroup>& groups, bool together);

/// What one call of attend_with_gradient() shares with the other layers.
struct AttentionPlan {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  at::Tensor cos;  ///< [rows, 1, head_dim / 2], of each row's position, in the accumulation dtype
  at::Tensor sin;
  std::vector<AttentionBatch> batches;  ///< cover all rows
};

/// qkv: [rows, (heads + 2 kv_heads) * head_dim], keys not rotated -> [rows, heads * head_dim] in the dtype of qkv.
/// Scores and sums in float32 (float64 for float64).
at::Tensor attend_with_gradient(const at::Tensor& qkv,
                                const std::shared_ptr<const AttentionPlan>& plan, int64_t layer);

}  // namespace alluvium::backbone
