// The scales and minima of quantised keys or values, as they are stored.
//
// Purpose: `lines` of `width` scales and minima each, in 16 bits, or in 8 with one range for all
//          scales and one for all minima of a head.
// Source : double quantisation of QLoRA (Dettmers et al., NeurIPS 2023), for KIVI's scales and minima.
// Layout : 16 bits: for each line float16 scales [width], float16 minima [width]. 8 bits: float16
//          lowest scale, step of scales, lowest minimum, step of minima; then for each line uint8
//          codes of scales [width] and of minima [width]; a number is code x step + lowest.
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace alluvium::memory_bank {

struct ScaleTable {
  int64_t lines = 0;
  int64_t width = 0;
  std::vector<float> scales;  ///< [lines * width]
  std::vector<float> minima;

  ScaleTable(int64_t line_count, int64_t line_width);
};

/// scale_bits: 8 or 16.
std::size_t scale_bytes(int64_t lines, int64_t width, int64_t scale_bits);

/// Writes the table, and puts in it what will be read back.
void write_scales(ScaleTable& table, int64_t scale_bits, std::byte* out);

void read_scales(const std::byte* bytes, int64_t scale_bits, ScaleTable& table);

}  // namespace alluvium::memory_bank
