// One layer's keys and values as the bytes of a record, and back.
//
// Purpose: the layout of docs/FORMATS.md, "Memory record", below the directory: for evicted rows a
//          bit map for each head; then each head's keys; then each head's values. Factors of a
//          residual stand behind the codes they belong to.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// What a section's layout follows from, beside the rows each head keeps.
struct SectionShape {
  int64_t tokens = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t key_group = 0;
  int64_t scale_bits = 16;
  int64_t residual_rank = 0;         ///< of quantised keys and values; 0: none
  at::ScalarType type = at::kFloat;  ///< what it is decoded to
  bool everything = true;            ///< no bit maps
  int64_t key_bits = 0;
  int64_t value_bits = 0;
};

/// Numbers of more bits are of the type's own, not codes with scales.
constexpr int64_t kWidestCode = 8;

/// Bytes of a head's bit map; 0 when everything is kept.
std::size_t map_bytes(const SectionShape& shape);

/// counts: kept rows of each head.
std::size_t section_bytes(const SectionShape& shape, std::span<const int64_t> counts);

/// keys, values: contiguous [kv_heads, tokens, head_dim], float32 for quantised bits, else
/// shape.type. positions: kept tokens of all heads, one head after the other.
std::vector<std::byte> encode_section(const SectionShape& shape, const at::Tensor& keys,
                                      const at::Tensor& values, std::span<const int64_t> counts,
                                      std::span<const int64_t> positions);

/// Kept rows of each head, and their tokens, from the bit maps. Throws DataCorruption when the
/// section is too short for them, a head keeps nothing, or a bit stands past the last token.
void read_kept_rows(const SectionShape& shape, std::span<const std::byte> section,
                    std::vector<int64_t>& counts, std::vector<int64_t>& positions);

/// Writes the rows of all heads, one head after the other, to keys and values of shape.type. The
/// section must have section_bytes().
void decode_section(const SectionShape& shape, std::span<const std::byte> section,
                    std::span<const int64_t> counts, void* keys, void* values);

}  // namespace alluvium::memory_bank
