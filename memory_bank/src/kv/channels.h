// Which channels of its keys a record keeps in each layer and KV head.
//
// Purpose: a channel in which keys hardly differ, or that queries hardly use, costs a bit and its mean.
// Source : ThinK (Xu et al., ICLR 2025): channel c weighs |q_c|^2 |k_c|^2, mean squares over queries and
//          over keys, averaged over the query heads of a group: the Frobenius norm of q_c k_c^T, squared.
// Differs: the source asks the last 32 queries of a prompt; no question is known here, so all of the
//          chunk's own are asked. Channels go in the pairs (c, c + d/2) that rotation turns into one
//          another, by the sum of their weights: keys are stored before it, and after it one channel
//          of a pair without the other would be a part of both. A channel that goes is not 0 but the
//          mean over the kept rows: before rotation a channel's keys lie around one offset all over a
//          document (what KIVI's minima rest on), which a constant holds and rotation then carries to
//          each position; after it the offset is a wave whose mean says nothing. What is lost is the
//          rest, so |k_c|^2 is of keys less their mean.
// Cost   : O(n * d) a layer and head, and the queries of the chunk's reading.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// Of one layer and KV head.
struct HeadChannels {
  std::vector<int64_t> kept;    ///< rising, at least one
  std::vector<float> constant;  ///< of the others, rising
};

/// queries: [layers, heads, n, head_dim] pre-RoPE. Returns float32 [layers, kv_heads, head_dim] on the
/// CPU: mean squares over tokens and over the query heads of a group.
at::Tensor query_energy(const at::Tensor& queries, int64_t kv_heads);

/// ThinK's weights: energy [head_dim] of queries, keys [rows, head_dim] -> float64 [head_dim].
at::Tensor channel_scores(const at::Tensor& energy, const at::Tensor& keys);

/// Channels of each layer and head, layer by layer: round(share * head_dim / 2) pairs, at least one;
/// equal ones in the order of their channels. Empty when that is every pair. keys: [layers, kv_heads,
/// n, head_dim], any float dtype and device; energy: query_energy()'s. Throws NumericError on a weight
/// that is not finite.
std::vector<HeadChannels> choose_channels(const at::Tensor& keys, const at::Tensor& energy,
                                          const KeptRows& kept, double share);

}  // namespace alluvium::memory_bank
