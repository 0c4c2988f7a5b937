// Grouped-query attention of new tokens over a prefix and over themselves.
//
// Source : Ainslie et al., "GQA", 2023; softmax parts merged by log-sum-exp as in APE (Yang et al.,
// 2025) when a temperature or scale is set. Differs: the query heads of a group stand as rows
// beside each other, so keys and values are never repeated. Threads: pure functions; use ATen's
// intra-operator threads.
//
// In bfloat16, where the processor has AVX512-BF16, plain attention runs in flash_kernels.h, else
// in ATen's kernels.
#pragma once

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

namespace alluvium::backbone {

/// What the rows of one sequence may see, built once a read and shared by all layers.
struct AttentionView {
  int64_t slots_before = 0;  ///< visible to every row; row i also sees the i + 1 slots after them
  /// float32, of slots_before + n slots at least: [slots], [layers, kv_heads, slots] or undefined
  at::Tensor log_bias;
  /// [layers * kv_heads] first slot of each; empty: 0 for all. Belongs to the cache
  std::span<const int64_t> begins;
  int64_t first_slot = 0;  ///< of a head_view(): keys and values to attend to begin here
  /// Slots with temperature and scale; an empty range is plain attention
  int64_t context_begin = 0;
  int64_t context_end = 0;
  double temperature = 1.0;
  double lse_scale = 1.0;
  /// [rows, slots], made by make_mask() or head_view(); undefined when a row kernel needs none
  at::Tensor mask;
  bool scattered = false;  ///< of a scattered_view(): the mask alone says what a row sees

  bool bias_differs_by_head() const { return log_bias.defined() && log_bias.dim() == 3; }
  bool differs_by_head() const { return !begins.empty() || bias_differs_by_head(); }

  bool plain() const {
    return context_begin >= context_end || (temperature == 1.0 && lse_scale == 1.0);
  }
};

/// Slots whose weights are watched while rows attend.
struct ObservedSlots {
  int64_t begin = 0;  ///< of the slots before the rows
  int64_t end = 0;
  at::Tensor maximum;  ///< float32 [kv_heads, end - begin], written: highest weight over all rows
};

/// Additive mask [n * group, slots_before + n] of `options`: 0 where visible, -inf elsewhere. A bias
/// is attend()'s to add.
at::Tensor make_mask(const AttentionView& view, int64_t n, int64_t group,
                     const at::TensorOptions& options);

/// Rows at places of their own among `slots`, int64 [rows] on the CPU: each sees the slots up to its
/// own. Plain attention without biases.
AttentionView scattered_view(const at::Tensor& places, int64_t slots, int64_t group,
                             const at::TensorOptions& options);

/// What one KV head of a layer sees of a view in which heads differ: its slots from first_slot on,
/// and their bias.
AttentionView head_view(const AttentionView& whole, int64_t layer, int64_t head, int64_t kv_heads);

/// queries: [n, heads, head_dim] rotated; keys, values: [kv_heads, slots_before + n, head_dim], may
/// be strided between heads. Returns [n, heads * head_dim] in the dtype of the queries; scores and
/// sums in float32. Of a view with a first_slot, keys and values begin there; of a scattered_view()
/// they are all slots. `observed`, if any, needs an even and plain view.
at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                  const AttentionView& view, ObservedSlots* observed = nullptr);

}  // namespace alluvium::backbone
