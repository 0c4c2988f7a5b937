// One layer's keys and values as the bytes of a record, and back.
//
// Purpose: the layout of docs/FORMATS.md, "Memory record", below the directory: for evicted rows a
//          bit map for each head; where key channels are left out, each head's; then each head's keys;
//          then each head's values; then, where rows are compensated for, each head's row. Factors of
//          a residual stand behind the codes they belong to.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/memory.h"
#include "kv/channels.h"

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
  bool compensated = false;          ///< a row behind the values for each head
  bool fewer_channels = false;       ///< heads say which channels their keys have
  int64_t key_bits = 0;
  int64_t value_bits = 0;
};

/// Numbers of more bits are of the type's own, not codes with scales.
constexpr int64_t kWidestCode = 8;

/// Key channels that a head's rows hold. channels: of each head; empty: every head keeps all.
int64_t width_of(const SectionShape& shape, std::span<const HeadChannels> channels,
                 std::size_t head);

/// Bytes of what stands before the first head's keys: bit maps and channels.
std::size_t lead_bytes(const SectionShape& shape, std::span<const HeadChannels> channels);

/// Bytes of what stands behind the last head's values: compensation rows.
std::size_t tail_bytes(const SectionShape& shape);

/// counts: kept rows of each head. channels: of each head; empty: every head keeps all.
std::size_t section_bytes(const SectionShape& shape, std::span<const int64_t> counts,
                          std::span<const HeadChannels> channels);

/// keys, values: contiguous [kv_heads, tokens, head_dim], float32 for quantised bits, else
/// shape.type. positions: kept tokens of all heads, one head after the other. Compensation rows
/// are left 0.
std::vector<std::byte> encode_section(const SectionShape& shape, const at::Tensor& keys,
                                      const at::Tensor& values, std::span<const int64_t> counts,
                                      std::span<const int64_t> positions,
                                      std::span<const HeadChannels> channels);

/// Kept rows of each head, and their tokens, from the bit maps. Throws DataCorruption when the
/// section is too short for them, a head keeps nothing, or a bit stands past the last token.
void read_kept_rows(const SectionShape& shape, std::span<const std::byte> section,
                    std::vector<int64_t>& counts, std::vector<int64_t>& positions);

/// The channels of each head, of a section that leaves some out. Throws DataCorruption when it is too
/// short for them, a head keeps none, a bit stands past the last channel, or a mean is not finite.
std::vector<HeadChannels> read_channels(const SectionShape& shape,
                                        std::span<const std::byte> section);

/// Writes the rows of all heads, one head after the other, to keys and values of shape.type. The
/// section must have section_bytes().
void decode_section(const SectionShape& shape, std::span<const std::byte> section,
                    std::span<const int64_t> counts, std::span<const HeadChannels> channels,
                    void* keys, void* values);

}  // namespace alluvium::memory_bank
