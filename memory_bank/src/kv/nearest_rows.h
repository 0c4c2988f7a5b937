// For each evicted row of a layer and head the kept row whose key is most like its own.
//
// Threads: pure functions.
#pragma once

#include <ATen/core/Tensor.h>

namespace alluvium::memory_bank {

struct NearestRows {
  at::Tensor evicted;  ///< int64 [evicted] of the chunk's tokens, rising
  at::Tensor cosine;   ///< float32 [evicted], of the keys; undefined where nothing is evicted
  at::Tensor target;   ///< int64 [evicted], among the kept rows; likewise
};

/// Lengths of rows [..., n, d] as [..., n, 1], never 0.
at::Tensor length_of(const at::Tensor& rows);

/// keys: float32 [n, d] on the CPU. kept: int64, rising, at least one.
NearestRows nearest_rows(const at::Tensor& keys, const at::Tensor& kept);

}  // namespace alluvium::memory_bank
