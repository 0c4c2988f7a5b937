#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "alluvium/core/random.h"
#include "kv/quantise.h"
#include "kv/scale_table.h"
#include "support/catch.h"

namespace alluvium::memory_bank {
namespace {

using Bytes = std::vector<std::byte>;
using Catch::Matchers::WithinAbs;

Bytes quantised_keys(const std::vector<float>& keys, int64_t rows, int64_t group, int64_t bits) {
  const int64_t channels = static_cast<int64_t>(keys.size()) / rows;
  Bytes bytes(key_bytes(rows, channels, group, bits, 16));
  quantise_keys(keys.data(), rows, channels, group, bits, 16, bytes.data());
  return bytes;
}

Bytes quantised_values(const std::vector<float>& values, int64_t rows, int64_t bits) {
  const int64_t channels = static_cast<int64_t>(values.size()) / rows;
  Bytes bytes(value_bytes(rows, channels, bits, 16));
  quantise_values(values.data(), rows, channels, bits, 16, bytes.data());
  return bytes;
}

std::vector<float> decoded_keys(const Bytes& bytes, int64_t rows, int64_t channels, int64_t group,
                                int64_t bits) {
  std::vector<float> keys(static_cast<std::size_t>(rows * channels));
  dequantise_keys(bytes.data(), rows, channels, group, bits, 16, keys.data());
  return keys;
}

std::vector<float> decoded_values(const Bytes& bytes, int64_t rows, int64_t channels,
                                  int64_t bits) {
  std::vector<float> values(static_cast<std::size_t>(rows * channels));
  dequantise_values(bytes.data(), rows, channels, bits, 16, values.data());
  return values;
}

/// Distance to the next float16 above |x|.
double half_step(double x) {
  const double magnitude = std::max(std::abs(x), std::pow(2.0, -14));
  return std::pow(2.0, std::floor(std::log2(magnitude)) - 10);
}

uint16_t half_at(const Bytes& bytes, std::size_t index) {
  uint16_t bits;
  std::memcpy(&bits, bytes.data() + 2 * index, sizeof(bits));
  return bits;
}

}  // namespace

TEST_CASE("quantise: a key channel by hand", "[memory_bank][kv][quantise]") {
  // Range 3.5. Four bits: scale 3.5 / 15 = 0.23333 (0.23328 in float16), codes 0, 6, 9, 15. Eight
  // bits: scale 0.0137255, codes 0, 109, 160, 255.
  const std::vector<float> channel = {-1.3F, 0.2F, 0.9F, 2.2F};
  const Bytes four = quantised_keys(channel, 4, 32, 4);
  REQUIRE(four.size() == 4 + 4);  // scale and minimum, then one byte a row
  CHECK(half_at(four, 0) == c10::Half(3.5F / 15).x);
  CHECK(half_at(four, 1) == c10::Half(-1.3F).x);
  for (const auto& [row, code] : {std::pair{0, 0}, {1, 6}, {2, 9}, {3, 15}}) {
    CHECK(static_cast<int>(four[4 + row]) == code);
  }
  const auto back = decoded_keys(four, 4, 1, 32, 4);
  const std::vector<double> expected = {-1.3, 0.1, 0.8, 2.2};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_THAT(back[i], WithinAbs(expected[i], 2e-3));
  }
  const Bytes eight = quantised_keys(channel, 4, 32, 8);
  for (const auto& [row, code] : {std::pair{0, 0}, {1, 109}, {2, 160}, {3, 255}}) {
    CHECK(static_cast<int>(eight[4 + row]) == code);
  }
}

TEST_CASE("quantise: a value row by hand, two codes a byte, the first in the low half",
          "[memory_bank][kv][quantise]") {
  const Bytes bytes = quantised_values({-1, -0.2F, 0.05F, 2}, 1, 4);
  REQUIRE(bytes.size() == 4 + 2);
  CHECK(bytes[4] == std::byte{0x40});
  CHECK(bytes[5] == std::byte{0xF5});
}

TEST_CASE("quantise: the last group of rows has a range of its own",
          "[memory_bank][kv][quantise]") {
  const Bytes bytes = quantised_keys({0, 1, 0.35F}, 3, 2, 4);
  CHECK(half_at(bytes, 0) == c10::Half(1.0F / 15).x);
  CHECK(half_at(bytes, 2) == c10::Half(0.0F).x);  // scale of the group of one
  CHECK(half_at(bytes, 3) == c10::Half(0.35F).x);
  CHECK(static_cast<int>(bytes[8 + 0]) == 0);
  CHECK(static_cast<int>(bytes[8 + 1]) == 15);
  CHECK(static_cast<int>(bytes[8 + 2]) == 0);
  const auto back = decoded_keys(bytes, 3, 1, 2, 4);
  CHECK(back[2] == static_cast<float>(c10::Half(0.35F)));
}

TEST_CASE("quantise: the error stays under half a step and what float16 rounds",
          "[memory_bank][kv][quantise][property]") {
  const int64_t bits = GENERATE(2, 3, 4, 8);
  const int64_t rows = GENERATE(1, 5, 32, 33, 71);
  const int64_t channels = GENERATE(2, 7, 64);
  const int64_t group = GENERATE(2, 32);
  CAPTURE(bits, rows, channels, group);
  Random random(static_cast<uint64_t>(bits * 1000 + rows));
  std::vector<float> x;
  for (int64_t i = 0; i < rows * channels; ++i) {
    // Channels with offsets, one of them constant, as keys have them.
    const int64_t channel = i % channels;
    x.push_back(channel == 1
                    ? 0.3F
                    : static_cast<float>(5.0 * static_cast<double>(channel) + random.normal()));
  }
  const auto levels = static_cast<double>((1 << bits) - 1);
  const auto allowed = [&](double low, double high) {
    const double scale = (high - low) / levels;
    return scale / 2 + half_step(low) + levels * half_step(scale) + 1e-6;
  };
  const auto keys = decoded_keys(quantised_keys(x, rows, group, bits), rows, channels, group, bits);
  for (int64_t first = 0; first < rows; first += group) {
    for (int64_t c = 0; c < channels; ++c) {
      float low = x[first * channels + c];
      float high = low;
      const int64_t end = std::min(first + group, rows);
      for (int64_t r = first; r < end; ++r) {
        low = std::min(low, x[r * channels + c]);
        high = std::max(high, x[r * channels + c]);
      }
      for (int64_t r = first; r < end; ++r) {
        REQUIRE(std::abs(keys[r * channels + c] - x[r * channels + c]) <= allowed(low, high));
      }
    }
  }
  const auto values = decoded_values(quantised_values(x, rows, bits), rows, channels, bits);
  for (int64_t r = 0; r < rows; ++r) {
    const auto [low, high] =
        std::minmax_element(x.begin() + r * channels, x.begin() + (r + 1) * channels);
    for (int64_t c = 0; c < channels; ++c) {
      REQUIRE(std::abs(values[r * channels + c] - x[r * channels + c]) <= allowed(*low, *high));
    }
  }
}

TEST_CASE("quantise: what was decoded is quantised to the same bytes",
          "[memory_bank][kv][quantise][property]") {
  const int64_t bits = GENERATE(2, 3, 4, 8);
  CAPTURE(bits);
  Random random(7);
  std::vector<float> x;
  for (int64_t i = 0; i < 40 * 8; ++i) {
    x.push_back(static_cast<float>(4 * random.normal()));
  }
  const Bytes once = quantised_values(x, 40, bits);
  const auto back = decoded_values(once, 40, 8, bits);
  const auto again = decoded_values(quantised_values(back, 40, bits), 40, 8, bits);
  for (std::size_t i = 0; i < back.size(); ++i) {
    // The highest code may stand a float16 step beside the range it was made from.
    CHECK_THAT(again[i], WithinAbs(back[i], 0.02));
  }
}

TEST_CASE("quantise: decoding to bfloat16 and float16 rounds what decoding to float32 gives",
          "[memory_bank][kv][quantise]") {
  Random random(3);
  std::vector<float> x;
  for (int64_t i = 0; i < 9 * 6; ++i) {
    x.push_back(static_cast<float>(random.normal()));
  }
  const Bytes bytes = quantised_keys(x, 9, 4, 3);
  const auto exact = decoded_keys(bytes, 9, 6, 4, 3);
  std::vector<c10::BFloat16> brain(x.size());
  std::vector<c10::Half> half(x.size());
  dequantise_keys(bytes.data(), 9, 6, 4, 3, 16, brain.data());
  dequantise_keys(bytes.data(), 9, 6, 4, 3, 16, half.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(brain[i].x == c10::BFloat16(exact[i]).x);
    CHECK(half[i].x == c10::Half(exact[i]).x);
  }
}

// Scales 0.2 and 0.1 (lines of one), minima -1 and 0.5: the ladder of the scales goes from 0.1 in steps of
// 0.1 / 255, that of the minima from -1 in steps of 1.5 / 255; both ends are met but for float16.
TEST_CASE("scale table: 8 bits by hand, and what is written is what is read",
          "[memory_bank][kv][quantise]") {
  CHECK(scale_bytes(2, 1, 16) == 8);
  CHECK(scale_bytes(2, 1, 8) == 12);
  ScaleTable table(2, 1);
  table.scales = {0.2F, 0.1F};
  table.minima = {-1.0F, 0.5F};
  Bytes bytes(scale_bytes(2, 1, 8));
  write_scales(table, 8, bytes.data());
  CHECK(bytes[8] == std::byte{255});   // scale of the first line
  CHECK(bytes[9] == std::byte{0});     // its minimum
  CHECK(bytes[10] == std::byte{0});    // scale of the second
  CHECK(bytes[11] == std::byte{255});  // its minimum
  CHECK_THAT(table.scales[0], WithinAbs(0.2, 2e-4));
  CHECK_THAT(table.scales[1], WithinAbs(0.1, 1e-4));
  CHECK_THAT(table.minima[1], WithinAbs(0.5, 2e-3));
  ScaleTable read(2, 1);
  read_scales(bytes.data(), 8, read);
  CHECK(read.scales == table.scales);
  CHECK(read.minima == table.minima);
}

TEST_CASE("scale table: with 8 bits the error of a key stays near that of 16",
          "[memory_bank][kv][quantise][property]") {
  const auto seed = GENERATE(range(0U, 10U));
  CAPTURE(seed);
  Random random(seed);
  const int64_t rows = 1 + static_cast<int64_t>(random.below(70));
  std::vector<float> x;
  for (int64_t i = 0; i < rows * 64; ++i) {
    // Channels of different widths, as keys have.
    x.push_back(static_cast<float>(random.normal() * (1 + static_cast<double>(i % 64) / 16)));
  }
  const auto error = [&](int64_t scale_bits) {
    Bytes bytes(key_bytes(rows, 64, 32, 4, scale_bits));
    quantise_keys(x.data(), rows, 64, 32, 4, scale_bits, bytes.data());
    std::vector<float> back(x.size());
    dequantise_keys(bytes.data(), rows, 64, 32, 4, scale_bits, back.data());
    double square = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      square += (x[i] - back[i]) * (x[i] - back[i]);
    }
    return std::sqrt(square / static_cast<double>(x.size()));
  };
  CHECK(error(8) < 1.1 * error(16) + 0.03);
  CHECK(key_bytes(rows, 64, 32, 4, 8) < key_bytes(rows, 64, 32, 4, 16));
}

}  // namespace alluvium::memory_bank
