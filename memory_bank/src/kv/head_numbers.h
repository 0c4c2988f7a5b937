// The keys or the values of one head as bytes of a section, and back.
//
// Purpose: what a head's keys, its values and its tail have in common: numbers of the type's own or codes
//          with scales, and behind codes the factors of their residual.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ATen/core/Tensor.h>

#include "kv/quantise.h"

namespace alluvium::memory_bank {

/// Numbers of more bits are of the type's own, not codes with scales.
constexpr int64_t kWidestCode = 8;

struct HeadNumbers {
  int64_t rows = 0;
  int64_t width = 0;  ///< channels of a row
  int64_t bits = 0;
  int64_t group =
      0;  ///< rows that share a scale and a minimum in each channel; 0: each row has its own
  int64_t scale_bits = 16;
  int64_t residual_rank = 0;  ///< of codes
  at::ScalarType type = at::kFloat;
  Quantiser quantiser = Quantiser::minmax;  ///< of no effect on decoding

  bool coded() const { return bits <= kWidestCode; }
};

/// Of all of it: scales, codes and factors, or the numbers themselves.
std::size_t bytes_of(const HeadNumbers& numbers);

/// rows: [rows, width], float32 where they become codes, else the type's own.
void encode_head(const HeadNumbers& numbers, const std::byte* rows, std::byte* out);

/// T is the type's own; out: [rows, width].
template <class T>
void decode_head(const HeadNumbers& numbers, const std::byte* from, T* out);

}  // namespace alluvium::memory_bank
