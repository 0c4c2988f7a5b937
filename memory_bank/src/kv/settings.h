// The presets of the kv codec, and the settings a codec's options come down to.
//
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alluvium/memory_bank/codec.h"
#include "kv/quantise.h"

namespace alluvium::memory_bank {

/// Everything that decides what is kept of a chunk.
struct KvSettings {
  double keep = 1.0;  ///< share of all rows of all layers and heads; 1: nothing is evicted
  std::string observer = "none";  ///< "none" when nothing is evicted
  std::string budget = "none";
  int64_t key_bits = 0;  ///< 2, 3, 4, 8: quantised; 16, 32: that width; 0: the compute dtype's
  int64_t value_bits = 0;
  double key_channels = 1.0;   ///< share of a key's channels kept
  int64_t boundary_bits = 8;   ///< least bits of the boundary layers
  int64_t key_group = 32;      ///< kept rows that share a key's scales
  int64_t scale_bits = 16;     ///< of each quantised scale and minimum
  std::string merge = "none";  ///< a word of merge_names()
  int64_t residual_rank = 0;   ///< 0 when nothing is quantised
  int64_t tail_bits = 0;       ///< of rows that are not kept; 0: they are lost
  Quantiser quantiser = Quantiser::minmax;
  double key_step = 0;  ///< of quantiser transform, else 0
  double value_step = 0;
  EntropyCoder entropy = EntropyCoder::none;
  // Not set by options.
  int64_t boundary_layers = 2;  ///< first and last layers
  int64_t sink_rows = 4;        ///< first rows of a chunk, always kept
  int64_t floor_rows = 8;       ///< kept by every layer and head at least
  int64_t whole_below = 64;     ///< chunks of fewer tokens keep every row

  bool quantised() const { return key_bits != 0 && key_bits <= 8; }
  bool transformed() const { return key_step > 0; }
  bool evicts() const { return keep < 1.0; }
  bool prunes_channels() const { return key_channels < 1.0; }

  /// All of it in words, for the fingerprint: equal settings give equal words.
  std::string describe() const;
};

/// The words of codec.merge.
const std::vector<std::string>& merge_names();

/// The words of codec.quantiser.
const std::vector<std::string>& quantiser_names();

/// Preset and overrides as one word for people: the preset's, or "custom".
std::string settings_word(const CodecOptions& options, bool has_basis = false);

/// The preset with the overrides of `options`, where there is a basis or is none. Throws InvalidArgument naming key, value and bound.
KvSettings resolve_settings(const CodecOptions& options, bool has_basis = false);

}  // namespace alluvium::memory_bank
