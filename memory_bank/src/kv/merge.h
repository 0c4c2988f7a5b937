// What becomes of evicted rows.
//
// Purpose: what an evicted row knew joins a kept one; positions and bytes stay as they are. values:
//          its value joins that of the kept row whose key is most like its own, keys stay.
//          neighbours: a run of rows with like keys becomes one row, key and value. (d2o and ems merge
//          rows wherever they stand: merge_alike.h. compensation leaves kept rows alone: compensation.h.)
// Source : values: MergingPress (NVIDIA/kvpress): weight w = max(cos(k_e, k_t), 0) |v_e| / (|v_e| +
//          |v_t|), v_t <- (v_t + sum w v_e) / (1 + sum w). After D2O (Wan et al., ICLR 2025) and EMS
//          (2024). neighbours: KVMerger (Wang et al., 2024): consecutive rows whose adjacent keys are
//          alike form a set, its pivot takes the mean of keys and of values under Gaussian weights of
//          the distance to the pivot's key.
// Differs: keys are compared and merged before the rotary embedding, so that nearness in the text
//          plays no part but for the runs. neighbours: the source's pivot is the row of a set with most
//          attention and all others leave; here the budget has chosen, a set may hold several kept
//          rows, and an evicted row joins the nearest of them in the text, the earlier of two. sigma^2
//          is the mean squared distance of those that join. Rows of sets without a kept row are lost.
// Cost   : values: O(evicted * kept * d) a layer and head; neighbours: O(n * d).
// Threads: pure functions.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/rope.h"
#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// [layers, kv_heads, n, head_dim] each; only the kept rows are of use.
struct MergedRows {
  at::Tensor keys;
  at::Tensor values;
};

/// What some merges go by, beside the rows.
struct MergeContext {
  at::Tensor scores;  ///< [layers, kv_heads, n] that the rows were chosen by: ems
  const backbone::Rope* rope = nullptr;  ///< of the decoder: d2o, ems
};

/// Whether a word of codec.merge looks at rotated keys: whoever keeps rows by it needs the rotation.
bool merges_rotated(const std::string& merge);

/// Keys and values [layers, kv_heads, n, head_dim], any float dtype and device, as the word of
/// codec.merge says: those themselves for "none", for "compensation" or when nothing is evicted, else
/// what changed in float32 on the CPU. Throws InvalidArgument on an unknown word. d2o and ems must be
/// given what MergeContext says they go by.
MergedRows merge_rows(const std::string& merge, const at::Tensor& keys, const at::Tensor& values,
                      const KeptRows& kept, const MergeContext& context = {});

/// keys, values: [layers, kv_heads, n, head_dim], any float dtype, on the CPU. Returns values in
/// float32 whose kept rows have taken in the evicted ones; those themselves when nothing is evicted.
at::Tensor merge_values(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept);

/// The same for keys and values of neighbours. A kept row that none joins keeps its bits.
MergedRows merge_neighbours(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept);

/// KVMerger's weights exp(-distance^2 / (2 sigma^2)), in all 1; equal ones where sigma^2 is 0.
std::vector<double> gaussian_weights(std::span<const double> squared_distances, double variance);

}  // namespace alluvium::memory_bank
