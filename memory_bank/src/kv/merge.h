// What becomes of the values of evicted rows.
//
// Purpose: an evicted row's value joins that of the kept row whose key is most like its own; keys,
//          positions and bytes stay as they are.
// Source : MergingPress (NVIDIA/kvpress): weight w = max(cos(k_e, k_t), 0) |v_e| / (|v_e| + |v_t|),
//          v_t <- (v_t + sum w v_e) / (1 + sum w). After D2O (Wan et al., ICLR 2025) and EMS (2024).
// Differs: keys are compared before the rotary embedding, so that nearness in the text plays no part.
// Cost   : O(evicted * kept * d) a layer and head.
// Threads: pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// keys, values: [layers, kv_heads, n, head_dim], any float dtype, on the CPU. Returns values in
/// float32 whose kept rows have taken in the evicted ones; those themselves when nothing is evicted.
at::Tensor merge_values(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept);

}  // namespace alluvium::memory_bank
