// The one thing every memory becomes at question time: per-layer keys and values a frozen decoder
// attends to.
//
// Purpose: codecs make it, decoders consume it, whatever the method behind it.
// Source : APE (Yang et al., 2025) for temperature and scale of parallel context; plain attention is
//          temperature = lse_scale = 1.
// Threads: plain data; tensors are shared, never changed in place.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace alluvium::backbone {

/// How the keys of a segment stand to rotary positions.
enum class KeySpace {
  pre_rope,  ///< as k_proj gave them; rotated to `positions` on use
  rotated,   ///< already at `positions`
};

/// Slots that stand together: the shared prefix, or one document.
///
/// Even: every layer and KV head has the same m slots. Ragged (row_counts not empty): each layer
/// and KV head has slots of its own, and the tensors hold them one after the other, layer by layer
/// and head by head: `rows` in all.
struct KvSegment {
  at::Tensor keys;    ///< [layers, kv_heads, m, head_dim], any float dtype; ragged [rows, head_dim]
  at::Tensor values;  ///< as keys
  at::Tensor positions;  ///< int64 [m], absolute; ragged [rows]
  at::Tensor log_bias;   ///< float32 [m] or [layers, kv_heads, m], ragged [rows]: added to the
                         ///< logits of these slots; undefined = 0. -inf removes a slot
  KeySpace key_space = KeySpace::pre_rope;
  bool context = false;  ///< true: temperature and lse_scale of the prefix apply (documents);
                         ///< false: ordinary text (shared prefix); never ragged
  std::vector<int64_t> row_counts;  ///< ragged: [layers * kv_heads], at least 1 each

  bool ragged() const { return !row_counts.empty(); }

  /// Slots of the layer and head that has most.
  int64_t slots() const {
    if (ragged()) {
      return *std::max_element(row_counts.begin(), row_counts.end());
    }
    return keys.defined() ? keys.size(2) : 0;
  }
};

struct KvPrefix {
  std::vector<KvSegment> segments;
  int64_t next_position = 0;  ///< where text that follows begins
  double temperature = 1.0;   ///< context logits are divided by it
  /// Context log-sum-exp is multiplied by lse_scale * temperature before the merge
  double lse_scale = 1.0;

  /// No layer and head has more.
  int64_t slots() const {
    int64_t total = 0;
    for (const KvSegment& segment : segments) {
      total += segment.slots();
    }
    return total;
  }
};

}  // namespace alluvium::backbone
