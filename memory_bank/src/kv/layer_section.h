// One layer's keys and values as the bytes of a record, and back.
//
// Purpose: the layout of docs/FORMATS.md, "Memory record", below the directory: for evicted rows a
//          bit map for each head; where key channels are left out, each head's; then each head's keys;
//          then each head's values; then, where the other rows form a tail, each head's keys and values
//          of it; then, where rows are compensated for, each head's row. Factors of a residual stand
//          behind the codes they belong to.
// Source : the tail: MiKV ("No Token Left Behind", 2024): pairs that would be evicted stay, in few bits.
// Differs: MiKV balances key channels (sqrt(max|q| / max|k|)) before it quantises; here each channel has
//          a scale of its own in every group of rows, which takes a factor of a channel in whole.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/memory.h"
#include "kv/channels.h"
#include "kv/head_numbers.h"

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
  int64_t tail_bits = 0;  ///< of the rows without a bit in their head's map; 0: they are lost
  bool row_keys = false;  ///< each row of a key has a scale and a minimum, as values have
  int64_t key_bits = 0;
  int64_t value_bits = 0;
  Quantiser quantiser = Quantiser::minmax;  ///< of rows, when they are encoded

  /// Whether every token is decoded.
  bool whole() const { return everything || tail_bits > 0; }
};

/// The keys of one head among `rows` rows of `width` channels, and the values.
HeadNumbers keys_of(const SectionShape& shape, int64_t rows, int64_t width);
HeadNumbers values_of(const SectionShape& shape, int64_t rows);

/// The shape of the tail's own keys and values.
SectionShape tail_of(const SectionShape& shape);

/// Rows of the tail of each head.
std::vector<int64_t> tail_counts(const SectionShape& shape, std::span<const int64_t> counts);

/// Key channels that a head's rows hold. channels: of each head; empty: every head keeps all.
int64_t width_of(const SectionShape& shape, std::span<const HeadChannels> channels,
                 std::size_t head);

/// Bytes of what stands before the first head's keys: bit maps and channels.
std::size_t lead_bytes(const SectionShape& shape, std::span<const HeadChannels> channels);

/// Bytes of what stands behind all keys and values: compensation rows.
std::size_t end_bytes(const SectionShape& shape);

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

/// The bit maps of kept rows, at `out`; returns where they end. Nothing for a section of everything.
std::byte* write_kept_rows(const SectionShape& shape, std::span<const int64_t> counts,
                           std::span<const int64_t> positions, std::byte* out);

/// Kept rows of each head, and their tokens, from the bit maps. Throws DataCorruption when the
/// section is too short for them, a head keeps nothing, or a bit stands past the last token.
void read_kept_rows(const SectionShape& shape, std::span<const std::byte> section,
                    std::vector<int64_t>& counts, std::vector<int64_t>& positions);

/// The channels of each head, of a section that leaves some out. Throws DataCorruption when it is too
/// short for them, a head keeps none, a bit stands past the last channel, or a mean is not finite.
std::vector<HeadChannels> read_channels(const SectionShape& shape,
                                        std::span<const std::byte> section);

/// Writes the rows of all heads, one head after the other, to keys and values of shape.type: each head's
/// kept rows, or all tokens of a whole() section. The section must have section_bytes().
void decode_section(const SectionShape& shape, std::span<const std::byte> section,
                    std::span<const int64_t> counts, std::span<const HeadChannels> channels,
                    void* keys, void* values);

}  // namespace alluvium::memory_bank
