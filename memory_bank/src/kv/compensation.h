// One row for each layer and KV head that stands for all the rows it lost.
//
// Purpose: attention that the evicted rows would have drawn goes to their mean, not to the rows that
//          are left.
// Source : the compensation token of RazorAttention (Tang et al., ICLR 2025): mean key, rotated, and
//          mean value of the N dropped rows, whose exponential counts N times: log N on its logit.
// Differs: the source drops what lies between sinks and a window in heads that do not retrieve; here
//          every layer and head compensates for whatever the budget dropped. Its keys stand where the
//          text stands; here each is rotated by its token's place in the chunk, the mean stands at
//          place 0, and since rotation is linear, loading it at the chunk's position gives the mean
//          of the keys at theirs.
// Cost   : O(n * d) a layer and head; one row and four bytes in the record.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <span>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/rope.h"
#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// keys, values: [layers, kv_heads, n, head_dim] pre-RoPE, any float dtype and device. Returns rows in
/// float32; none when nothing is evicted.
CompensationRows compensate(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                            const backbone::Rope& rope);

/// What stands at the end of a layer's section: for each head u32 count, float16 key [head_dim],
/// float16 value [head_dim].
std::size_t compensation_bytes(int64_t kv_heads, int64_t head_dim);

/// The heads of `layer`; keys and values of `rows` are contiguous float16.
void write_compensation(const CompensationRows& rows, int64_t layer, int64_t kv_heads,
                        std::byte* out);

/// Adds the counts of a layer's heads to `rows` and fills their rows, in float16 as allocated. kept:
/// rows that each head has of `tokens`. Throws DataCorruption when a count is not what a head lost,
/// or a number is not finite.
void read_compensation(std::span<const std::byte> bytes, int64_t tokens,
                       std::span<const int64_t> kept, CompensationRows& rows);

}  // namespace alluvium::memory_bank
