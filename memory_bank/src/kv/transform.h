// Keys and values as steps along the directions of a basis, and back.
//
// Purpose: codec.quantiser = "transform": a third to a half of the bits that ranges of each channel (kv/quantise.h) take for the same
//          loss of attention. Coordinates that vary less than a tenth of a step are not written at all, which is what a low-rank basis
//          (CSKV, MatryoshkaKV) does, and the others cost what they vary.
// Source : transform coding (Goyal, IEEE Signal Processing Magazine 18(5), 2001), of keys and values: KVTC (2025); the basis is
//          kv_basis.h's.
// Differs: KVTC shares bits out over components by dynamic programming; with one step for all of a head's coordinates and numbers coded
//          by their likelihood, that follows by itself (reverse water-filling). A key is read back as the mean of what the step's
//          interval holds, a value as its middle: attention averages values, and a mean drawn towards the centre would not average out.
// Layout : one run of kv/rans_stream.h for a layer: each head's keys, then each head's values; rows in order, in each its coordinates.
// Threads: immutable; calls may run on many threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/kv_basis.h"

namespace alluvium::memory_bank {

/// Steps of coordinates.
struct TransformSteps {
  /// Of keys, in logits: the step of what a query like those the basis saw makes of one coordinate
  float key = 0;
  float value = 0;  ///< as a share of the root mean square of a head's coordinates
};

/// keys, values: contiguous float32 [kv_heads, tokens, head_dim], finite. positions: kept tokens of all heads, head after head, counts of
/// each.
std::vector<std::byte> encode_transform(const KvBasis& basis, int64_t layer,
                                        const TransformSteps& steps, const at::Tensor& keys,
                                        const at::Tensor& values, std::span<const int64_t> counts,
                                        std::span<const int64_t> positions);

/// Rows of all heads, head after head, float32 [rows, head_dim].
struct TransformedRows {
  at::Tensor keys;
  at::Tensor values;
};

/// Throws DataCorruption when `bytes` are not what that many rows take.
TransformedRows decode_transform(const KvBasis& basis, int64_t layer, const TransformSteps& steps,
                                 std::span<const std::byte> bytes, std::span<const int64_t> counts);

}  // namespace alluvium::memory_bank
