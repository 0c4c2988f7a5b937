#include "kv/quantise.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

namespace alluvium::memory_bank {
namespace {

/// Scale and minimum as the record keeps them.
struct Range {
  c10::Half scale;
  c10::Half minimum;
};
static_assert(sizeof(Range) == 4);

Range range_of(float lowest, float highest, int64_t bits) {
  const auto levels = static_cast<float>((1 << bits) - 1);
  return {c10::Half((highest - lowest) / levels), c10::Half(lowest)};
}

uint8_t code_of(float x, float scale, float minimum, float levels) {
  if (scale == 0) {
    return 0;
  }
  // Adding and taking away 1.5 * 2^23 rounds half to even.
  constexpr float kRound = 12582912.0F;
  const float code = std::min(std::max((x - minimum) / scale, 0.0F), levels);
  return static_cast<uint8_t>((code + kRound) - kRound);
}

void pack(const uint8_t* codes, int64_t n, int64_t bits, std::byte* out) {
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

void unpack(const std::byte* bytes, int64_t n, int64_t bits, uint8_t* codes) {
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

}  // namespace

std::size_t code_bytes(int64_t elements, int64_t bits) {
  return static_cast<std::size_t>((elements * bits + 7) / 8);
}

std::size_t key_bytes(int64_t rows, int64_t channels, int64_t group, int64_t bits) {
  const int64_t groups = (rows + group - 1) / group;
  return static_cast<std::size_t>(groups * channels) * sizeof(Range) +
         static_cast<std::size_t>(rows) * code_bytes(channels, bits);
}

std::size_t value_bytes(int64_t rows, int64_t channels, int64_t bits) {
  return static_cast<std::size_t>(rows) * (sizeof(Range) + code_bytes(channels, bits));
}

void quantise_keys(const float* keys, int64_t rows, int64_t channels, int64_t group, int64_t bits,
                   std::byte* out) {
  const int64_t groups = (rows + group - 1) / group;
  const std::size_t half_row = static_cast<std::size_t>(channels) * sizeof(c10::Half);
  std::byte* codes_out = out + 2 * half_row * static_cast<std::size_t>(groups);
  const auto levels = static_cast<float>((1 << bits) - 1);
  const auto width = static_cast<std::size_t>(channels);
  std::vector<float> low(width);
  std::vector<float> high(width);
  std::vector<c10::Half> halves(2 * width);
  std::vector<uint8_t> codes(width);
  for (int64_t first = 0; first < rows; first += group) {
    const int64_t end = std::min(first + group, rows);
    std::copy_n(keys + first * channels, channels, low.begin());
    std::copy_n(keys + first * channels, channels, high.begin());
    for (int64_t r = first + 1; r < end; ++r) {
      const float* row = keys + r * channels;
      for (int64_t c = 0; c < channels; ++c) {
        low[c] = std::min(low[c], row[c]);
        high[c] = std::max(high[c], row[c]);
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      const Range range = range_of(low[c], high[c], bits);
      halves[c] = range.scale;
      halves[channels + c] = range.minimum;
      high[c] = range.scale;  // from here on the scale that is stored, and the minimum
      low[c] = range.minimum;
    }
    std::memcpy(out, halves.data(), 2 * half_row);
    out += 2 * half_row;
    for (int64_t r = first; r < end; ++r) {
      const float* row = keys + r * channels;
      for (int64_t c = 0; c < channels; ++c) {
        codes[c] = code_of(row[c], high[c], low[c], levels);
      }
      pack(codes.data(), channels, bits, codes_out);
      codes_out += code_bytes(channels, bits);
    }
  }
}

void quantise_values(const float* values, int64_t rows, int64_t channels, int64_t bits,
                     std::byte* out) {
  std::byte* codes_out = out + static_cast<std::size_t>(rows) * sizeof(Range);
  const auto levels = static_cast<float>((1 << bits) - 1);
  std::vector<uint8_t> codes(static_cast<std::size_t>(channels));
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = values + r * channels;
    const auto [low, high] = std::minmax_element(row, row + channels);
    const Range range = range_of(*low, *high, bits);
    std::memcpy(out, &range, sizeof(range));
    out += sizeof(range);
    for (int64_t c = 0; c < channels; ++c) {
      codes[c] = code_of(row[c], range.scale, range.minimum, levels);
    }
    pack(codes.data(), channels, bits, codes_out);
    codes_out += code_bytes(channels, bits);
  }
}

template <class T>
void dequantise_keys(const std::byte* bytes, int64_t rows, int64_t channels, int64_t group,
                     int64_t bits, T* out) {
  const int64_t groups = (rows + group - 1) / group;
  const auto width = static_cast<std::size_t>(channels);
  const std::byte* packed =
      bytes + 2 * width * sizeof(c10::Half) * static_cast<std::size_t>(groups);
  std::vector<c10::Half> halves(2 * width);
  std::vector<float> scale(width);
  std::vector<float> minimum(width);
  std::vector<uint8_t> codes(width);
  for (int64_t r = 0; r < rows; ++r) {
    if (r % group == 0) {
      std::memcpy(halves.data(), bytes, halves.size() * sizeof(c10::Half));
      bytes += halves.size() * sizeof(c10::Half);
      std::copy_n(halves.begin(), width, scale.begin());
      std::copy_n(halves.begin() + channels, width, minimum.begin());
    }
    unpack(packed, channels, bits, codes.data());
    packed += code_bytes(channels, bits);
    for (int64_t c = 0; c < channels; ++c) {
      out[c] = static_cast<T>(static_cast<float>(codes[c]) * scale[c] + minimum[c]);
    }
    out += channels;
  }
}

template <class T>
void dequantise_values(const std::byte* bytes, int64_t rows, int64_t channels, int64_t bits,
                       T* out) {
  const std::byte* packed = bytes + static_cast<std::size_t>(rows) * sizeof(Range);
  std::vector<uint8_t> codes(static_cast<std::size_t>(channels));
  for (int64_t r = 0; r < rows; ++r) {
    Range range;
    std::memcpy(&range, bytes, sizeof(range));
    bytes += sizeof(range);
    const float scale = range.scale;
    const float minimum = range.minimum;
    unpack(packed, channels, bits, codes.data());
    packed += code_bytes(channels, bits);
    for (int64_t c = 0; c < channels; ++c) {
      out[c] = static_cast<T>(static_cast<float>(codes[c]) * scale + minimum);
    }
    out += channels;
  }
}

template void dequantise_keys(const std::byte*, int64_t, int64_t, int64_t, int64_t, float*);
template void dequantise_keys(const std::byte*, int64_t, int64_t, int64_t, int64_t, c10::BFloat16*);
template void dequantise_keys(const std::byte*, int64_t, int64_t, int64_t, int64_t, c10::Half*);
template void dequantise_values(const std::byte*, int64_t, int64_t, int64_t, float*);
template void dequantise_values(const std::byte*, int64_t, int64_t, int64_t, c10::BFloat16*);
template void dequantise_values(const std::byte*, int64_t, int64_t, int64_t, c10::Half*);

}  // namespace alluvium::memory_bank
