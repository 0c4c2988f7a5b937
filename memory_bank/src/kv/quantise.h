// Keys and values in 2, 3, 4 or 8 bits.
//
// Purpose: bytes for a record, and back. Keys one scale and minimum a channel and group of rows,
//          values one a row: a key's outliers live in channels, a value's do not.
// Source : KIVI (Liu et al., ICML 2024): asymmetric, keys per channel, values per token. Keys before
//          rotary embedding, whose channels stay what they are over a document. cachegen: the quantiser
//          of CacheGen (Liu et al., SIGCOMM 2024) as LMCache has it: with M = bins / 2 - 1, a number of a
//          row is round(x M / max|x| + M).
// Differs: scale and minimum are rounded as they are stored before the codes are computed, so that what is
//          decoded is what was meant; a minimum in 16 bits is rounded down, so that what was decoded is
//          quantised to the same bytes; codes are rounded half to even; codes stand row by row, so
//          that decoding runs along channels; the last group of rows may be shorter. cachegen: a row is
//          one head's, not that of all heads, since heads keep different rows; bins are 2^bits, the last
//          of them is not used; the row's scale and minimum are stored as those of minmax are.
// Threads: pure functions. Input must be finite and within float16.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace alluvium::memory_bank {

/// What a row's range is: from its lowest number to its highest, or as far below 0 as above; or there is
/// none (kv/transform.h), which nothing here takes.
enum class Quantiser { minmax, cachegen, transform };

/// Bytes of `elements` codes of `bits`: the first code in the lowest bits, the last byte filled up
/// with 0.
std::size_t code_bytes(int64_t elements, int64_t bits);
void pack_codes(const uint8_t* codes, int64_t n, int64_t bits, std::byte* out);
void unpack_codes(const std::byte* bytes, int64_t n, int64_t bits, uint8_t* codes);

/// Keys [rows, channels]: a scale table with a line of `channels` for each group of rows, then all
/// codes, each row on a byte of its own. scale_bits: 8 or 16.
std::size_t key_bytes(int64_t rows, int64_t channels, int64_t group, int64_t bits,
                      int64_t scale_bits);
void quantise_keys(const float* keys, int64_t rows, int64_t channels, int64_t group, int64_t bits,
                   int64_t scale_bits, std::byte* out);

/// Values [rows, channels]: a scale table with a line of one for each row, then all codes.
std::size_t value_bytes(int64_t rows, int64_t channels, int64_t bits, int64_t scale_bits);
void quantise_values(const float* values, int64_t rows, int64_t channels, int64_t bits,
                     int64_t scale_bits, std::byte* out, Quantiser quantiser = Quantiser::minmax);

/// T: float, c10::BFloat16 or c10::Half; out: [rows, channels].
template <class T>
void dequantise_keys(const std::byte* bytes, int64_t rows, int64_t channels, int64_t group,
                     int64_t bits, int64_t scale_bits, T* out);
template <class T>
void dequantise_values(const std::byte* bytes, int64_t rows, int64_t channels, int64_t bits,
                       int64_t scale_bits, T* out);

}  // namespace alluvium::memory_bank
