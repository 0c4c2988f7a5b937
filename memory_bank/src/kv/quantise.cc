#include "kv/quantise.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "kv/scale_table.h"

namespace alluvium::memory_bank {
namespace {

uint8_t code_of(float x, float scale, float minimum, float levels) {
  if (scale == 0) {
    return 0;
  }
  // Adding and taking away 1.5 * 2^23 rounds half to even.
  constexpr float kRound = 12582912.0F;
  const float code = std::min(std::max((x - minimum) / scale, 0.0F), levels);
  return static_cast<uint8_t>((code + kRound) - kRound);
}

/// The highest float16 that is not above x.
float half_below(float x) {
  const c10::Half nearest(x);
  if (static_cast<float>(nearest) <= x) {
    return nearest;
  }
  const bool negative = (nearest.x & 0x8000U) != 0;
  return c10::Half(static_cast<uint16_t>(nearest.x + (negative ? 1 : -1)), c10::Half::from_bits());
}

/// Where a range begins, from which its scale is computed: with 16 bits at a number that is stored as
/// it is and not above the lowest.
float minimum_of(float lowest, float highest, int64_t scale_bits) {
  return scale_bits == 16 && lowest < highest ? half_below(lowest) : lowest;
}

/// One of a group of rows in a channel of keys, or of a row of values.
struct Range {
  float lowest;   // of the numbers
  float minimum;  // that code 0 stands for
  float scale;
};

/// The lowest number's code is at most so high that quantising what is decoded gives the same minimum.
uint8_t code_in(const Range& range, float x, float levels, int64_t scale_bits) {
  uint8_t code = code_of(x, range.scale, range.minimum, levels);
  if (x == range.lowest && scale_bits == 16) {
    while (code > 0 &&
           half_below(static_cast<float>(code) * range.scale + range.minimum) > range.minimum) {
      --code;
    }
  }
  return code;
}

Range range_of(const float* row, int64_t channels, int64_t bits, int64_t scale_bits,
               Quantiser quantiser) {
  const auto [low, high] = std::minmax_element(row, row + channels);
  if (quantiser == Quantiser::minmax) {
    const float minimum = minimum_of(*low, *high, scale_bits);
    return {*low, minimum, (*high - minimum) / static_cast<float>((1 << bits) - 1)};
  }
  const auto half = static_cast<float>((1 << (bits - 1)) - 1);
  const float largest = std::max(-*low, *high);
  return {-largest, -largest, largest / half};
}

int64_t groups_of(int64_t rows, int64_t group) { return (rows + group - 1) / group; }

}  // namespace

std::size_t code_bytes(int64_t elements, int64_t bits) {
  return static_cast<std::size_t>((elements * bits + 7) / 8);
}

void pack_codes(const uint8_t* codes, int64_t n, int64_t bits, std::byte* out) {
  if (bits == 8) {
    std::memcpy(out, codes, static_cast<std::size_t>(n));
    return;
  }
  uint32_t waiting = 0;
  int64_t filled = 0;
  for (int64_t i = 0; i < n; ++i) {
    waiting |= static_cast<uint32_t>(codes[i]) << filled;
    filled += bits;
    if (filled >= 8) {
      *out++ = static_cast<std::byte>(waiting & 0xffU);
      waiting >>= 8;
      filled -= 8;
    }
  }
  if (filled > 0) {
    *out = static_cast<std::byte>(waiting);
  }
}

void unpack_codes(const std::byte* bytes, int64_t n, int64_t bits, uint8_t* codes) {
  const auto* from = reinterpret_cast<const uint8_t*>(bytes);
  if (bits == 8) {
    std::memcpy(codes, from, static_cast<std::size_t>(n));
    return;
  }
  if (bits == 4) {
    for (int64_t i = 0; i + 1 < n; i += 2, ++from) {
      codes[i] = *from & 15U;
      codes[i + 1] = *from >> 4;
    }
    if (n % 2 != 0) {
      codes[n - 1] = *from & 15U;
    }
    return;
  }
  const auto mask = static_cast<uint32_t>((1 << bits) - 1);
  uint32_t waiting = 0;
  int64_t filled = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (filled < bits) {
      waiting |= static_cast<uint32_t>(*from++) << filled;
      filled += 8;
    }
    codes[i] = static_cast<uint8_t>(waiting & mask);
    waiting >>= bits;
    filled -= bits;
  }
}

std::size_t key_bytes(int64_t rows, int64_t channels, int64_t group, int64_t bits,
                      int64_t scale_bits) {
  return scale_bytes(groups_of(rows, group), channels, scale_bits) +
         static_cast<std::size_t>(rows) * code_bytes(channels, bits);
}

std::size_t value_bytes(int64_t rows, int64_t channels, int64_t bits, int64_t scale_bits) {
  return scale_bytes(rows, 1, scale_bits) +
         static_cast<std::size_t>(rows) * code_bytes(channels, bits);
}

void quantise_keys(const float* keys, int64_t rows, int64_t channels, int64_t group, int64_t bits,
                   int64_t scale_bits, std::byte* out) {
  ScaleTable table(groups_of(rows, group), channels);
  const auto levels = static_cast<float>((1 << bits) - 1);
  std::vector<float> lowest(table.minima.size());
  std::vector<float> high(static_cast<std::size_t>(channels));
  for (int64_t first = 0; first < rows; first += group) {
    const int64_t end = std::min(first + group, rows);
    float* low = lowest.data() + first / group * channels;
    float* minimum = table.minima.data() + first / group * channels;
    float* scale = table.scales.data() + first / group * channels;
    std::copy_n(keys + first * channels, channels, low);
    std::copy_n(keys + first * channels, channels, high.begin());
    for (int64_t r = first + 1; r < end; ++r) {
      const float* row = keys + r * channels;
      for (int64_t c = 0; c < channels; ++c) {
        low[c] = std::min(low[c], row[c]);
        high[c] = std::max(high[c], row[c]);
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      minimum[c] = minimum_of(low[c], high[c], scale_bits);
      scale[c] = (high[c] - minimum[c]) / levels;
    }
  }
  write_scales(table, scale_bits, out);
  out += scale_bytes(table.lines, channels, scale_bits);
  std::vector<uint8_t> codes(static_cast<std::size_t>(channels));
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = keys + r * channels;
    const float* low = lowest.data() + r / group * channels;
    const float* minimum = table.minima.data() + r / group * channels;
    const float* scale = table.scales.data() + r / group * channels;
    for (int64_t c = 0; c < channels; ++c) {
      codes[c] = code_in({low[c], minimum[c], scale[c]}, row[c], levels, scale_bits);
    }
    pack_codes(codes.data(), channels, bits, out);
    out += code_bytes(channels, bits);
  }
}

void quantise_values(const float* values, int64_t rows, int64_t channels, int64_t bits,
                     int64_t scale_bits, std::byte* out, Quantiser quantiser) {
  ScaleTable table(rows, 1);
  std::vector<float> lowest(table.minima.size());
  const auto levels = static_cast<float>((1 << bits) - 1);
  for (int64_t r = 0; r < rows; ++r) {
    const Range range = range_of(values + r * channels, channels, bits, scale_bits, quantiser);
    lowest[r] = range.lowest;
    table.minima[r] = range.minimum;
    table.scales[r] = range.scale;
  }
  write_scales(table, scale_bits, out);
  out += scale_bytes(rows, 1, scale_bits);
  std::vector<uint8_t> codes(static_cast<std::size_t>(channels));
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = values + r * channels;
    const Range range{lowest[r], table.minima[r], table.scales[r]};
    for (int64_t c = 0; c < channels; ++c) {
      codes[c] = code_in(range, row[c], levels, scale_bits);
    }
    pack_codes(codes.data(), channels, bits, out);
    out += code_bytes(channels, bits);
  }
}

template <class T>
void dequantise_keys(const std::byte* bytes, int64_t rows, int64_t channels, int64_t group,
                     int64_t bits, int64_t scale_bits, T* out) {
  ScaleTable table(groups_of(rows, group), channels);
  read_scales(bytes, scale_bits, table);
  bytes += scale_bytes(table.lines, channels, scale_bits);
  std::vector<uint8_t> codes(static_cast<std::size_t>(channels));
  for (int64_t r = 0; r < rows; ++r) {
    const float* minimum = table.minima.data() + r / group * channels;
    const float* scale = table.scales.data() + r / group * channels;
    unpack_codes(bytes, channels, bits, codes.data());
    bytes += code_bytes(channels, bits);
    for (int64_t c = 0; c < channels; ++c) {
      out[c] = static_cast<T>(static_cast<float>(codes[c]) * scale[c] + minimum[c]);
    }
    out += channels;
  }
}

template <class T>
void dequantise_values(const std::byte* bytes, int64_t rows, int64_t channels, int64_t bits,
                       int64_t scale_bits, T* out) {
  ScaleTable table(rows, 1);
  read_scales(bytes, scale_bits, table);
  bytes += scale_bytes(rows, 1, scale_bits);
  std::vector<uint8_t> codes(static_cast<std::size_t>(channels));
  for (int64_t r = 0; r < rows; ++r) {
    const float scale = table.scales[r];
    const float minimum = table.minima[r];
    unpack_codes(bytes, channels, bits, codes.data());
    bytes += code_bytes(channels, bits);
    for (int64_t c = 0; c < channels; ++c) {
      out[c] = static_cast<T>(static_cast<float>(codes[c]) * scale + minimum);
    }
    out += channels;
  }
}

template void dequantise_keys(const std::byte*, int64_t, int64_t, int64_t, int64_t, int64_t,
                              float*);
template void dequantise_keys(const std::byte*, int64_t, int64_t, int64_t, int64_t, int64_t,
                              c10::BFloat16*);
template void dequantise_keys(const std::byte*, int64_t, int64_t, int64_t, int64_t, int64_t,
                              c10::Half*);
template void dequantise_values(const std::byte*, int64_t, int64_t, int64_t, int64_t, float*);
template void dequantise_values(const std::byte*, int64_t, int64_t, int64_t, int64_t,
                                c10::BFloat16*);
template void dequantise_values(const std::byte*, int64_t, int64_t, int64_t, int64_t, c10::Half*);

}  // namespace alluvium::memory_bank
