// A chunk's own attention, made again from its captured queries and keys.
//
// Threads: pure functions.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/rope.h"
#include "kv/observer.h"

namespace alluvium::memory_bank {

/// The decoder's rotary embedding, on its device.
backbone::Rope rope_of(const backbone::Decoder& decoder);

/// Weights that the last `queries` tokens of the chunk give its own rows in one layer, softmax over
/// shared prefix and chunk, causal: float32 [kv_heads, group, queries, n].
at::Tensor chunk_attention(const ObservedChunk& chunk, const SharedPrefix& prefix,
                           const backbone::Rope& rope, int64_t layer, int64_t queries);

/// The same of the chunk's tokens `rows`, int64 [queries] on the device of the keys.
at::Tensor chunk_attention(const ObservedChunk& chunk, const SharedPrefix& prefix,
                           const backbone::Rope& rope, int64_t layer, const at::Tensor& rows);

/// Keys of one layer at the chunk's positions after the prefix, float32 [kv_heads, n, head_dim].
at::Tensor chunk_keys(const ObservedChunk& chunk, const SharedPrefix& prefix,
                      const backbone::Rope& rope, int64_t layer);

}  // namespace alluvium::memory_bank
