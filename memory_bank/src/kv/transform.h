// Keys and values as steps along the directions of a basis, and back.
//
// Purpose: codec.quantiser = "transform": half of the bits of keys, three quarters of those of values, that ranges (kv/quantise.h) take
//          for the same loss of attention. Coordinates that vary less than a tenth of a step are not written at all, which is what a low-rank basis
//          (CSKV, MatryoshkaKV) does, and the others cost what they vary.
// Source : transform coding (Goyal, IEEE Signal Processing Magazine 18(5), 2001), of keys and values: KVTC (Staniszewski and Lancucki, ICLR
//          2026); the basis is kv_basis.h's.
// Differs: KVTC shares bits out over components by dynamic programming; with one step for all of a head's coordinates and numbers coded
//          by their likelihood, that follows by itself (reverse water-filling). A key is read back as the mean of what the step's
//          interval holds, a value as its middle: attention averages values, and a mean drawn towards the centre would not average out.
// Layout : one run of kv/rans_stream.h for a layer: each head's keys, then each head's values; coordinates in order, of each all rows.
// Threads: immutable; calls may run on many threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/kv_basis.h"
#include "kv/coefficients.h"

namespace alluvium::memory_bank {

/// Steps of coordinates.
struct TransformSteps {
  /// Of keys, in logits: the step of what a query like those the basis saw makes of one coordinate
  float key = 0;
  float value = 0;  ///< as a share of the root mean square of a head's coordinates
};

/// Rows of all heads, head after head, float32 [rows, head_dim].
struct TransformedRows {
  at::Tensor keys;
  at::Tensor values;
};

class Transform {
 public:
  Transform(const KvBasis& basis, const TransformSteps& steps);

  /// The same for all who ask with equal bases and steps: it takes some milliseconds to make, which a record need not wait for again.
  static std::shared_ptr<const Transform> shared(const KvBasis& basis, const TransformSteps& steps);

  /// keys, values: contiguous float32 [kv_heads, tokens, head_dim], finite. positions: kept tokens of all heads, head after head,
  /// counts of each.
  std::vector<std::byte> encode(int64_t layer, const at::Tensor& keys, const at::Tensor& values,
                                std::span<const int64_t> counts,
                                std::span<const int64_t> positions) const;

  /// Throws DataCorruption when `bytes` are not what that many rows take.
  TransformedRows decode(int64_t layer, std::span<const std::byte> bytes,
                         std::span<const int64_t> counts) const;

 private:
  /// One head's keys or values of one layer.
  struct Head {
    Head(const HeadBases& bases, int64_t layer, int64_t head, double step_size);

    void write(const at::Tensor& rows, std::vector<RansSymbol>& out) const;
    void read(CoefficientPoint point, CoefficientReader& reader, at::Tensor rows) const;

    at::Tensor mean;
    at::Tensor analysis;   // [coordinates, head_dim]: those that are written
    at::Tensor synthesis;  // [head_dim, coordinates]
    double step;
    std::vector<CoefficientTable> tables;  // of each coordinate
  };

  const int64_t kv_heads_;
  const int64_t head_dim_;
  std::vector<Head> keys_;  // layer by layer
  std::vector<Head> values_;
};

}  // namespace alluvium::memory_bank
