// The one thing every memory becomes at question time: per-layer keys and values a frozen decoder
// attends to.
//
// Purpose: codecs make it, decoders consume it, whatever the method behind it.
// Source : APE (Yang et al., 2025) for temperature and scale of parallel context; plain attention is
//          temperature = lse_scale = 1.
// Threads: plain data; tensors are shared, never changed in place.
#pragma once

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
struct KvSegment {
  at::Tensor keys;       ///< [layers, kv_heads, m, head_dim], any float dtype
  at::Tensor values;     ///< [layers, kv_heads, m, head_dim]
  at::Tensor positions;  ///< int64 [m], absolute
  at::Tensor log_bias;   ///< float32 [m], added to the logits of these slots; undefined = 0. -inf
                         ///< removes a slot
  KeySpace key_space = KeySpace::pre_rope;
  bool context = false;  ///< true: temperature and lse_scale of the prefix apply (documents);
                         ///< false: ordinary text (shared prefix)

  int64_t slots() const { return keys.defined() ? keys.size(2) : 0; }
};

struct KvPrefix {
  std::vector<KvSegment> segments;
  int64_t next_position = 0;  ///< where text that follows begins
  double temperature = 1.0;   ///< context logits are divided by it
  double lse_scale =
      1.0;  ///< context log-sum-exp is multiplied by lse_scale * temperature before the merge

  int64_t slots() const {
    int64_t total = 0;
    for (const KvSegment& segment : segments) {
      total += segment.slots();
    }
    return total;
  }
};

}  // namespace alluvium::backbone
