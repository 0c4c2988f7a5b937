#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
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

Bytes quantised_values(const std::vector<float>& values, int64_t rows, int64_t bits,
                       Quantiser quantiser = Quantiser::minmax) {
  const int64_t channels = static_cast<int64_t>(values.size()) / rows;
  Bytes bytes(value_bytes(rows, channels, bits, 16));
  quantise_values(values.data(), rows, channels, bits, 16, bytes.data(), quantiser);
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
  // The minimum is the float16 below -1.3, the range from it 3.50078. Four bits: scale 3.50078 / 15 =
  // 0.23339, codes 0, 6, 9, 15. Eight bits: scale 0.0137286, codes 0, 109, 160, 255.
  const std::vector<float> channel = {-1.3F, 0.2F, 0.9F, 2.2F};
  const Bytes four = quantised_keys(channel, 4, 32, 4);
  REQUIRE(four.size() == 4 + 4);            // scale and minimum, then one byte a row
  constexpr float kMinimum = -1.30078125F;  // -1332 / 1024
  CHECK(half_at(four, 0) == c10::Half((2.2F - kMinimum) / 15).x);
  CHECK(half_at(four, 1) == c10::Half(kMinimum).x);
  for (const auto& [row, code] : {std::pair{0, 0}, {1, 6}, {2, 9}, {3, 15}}) {
    CHECK(static_cast<int>(four[4 + row]) == code);
  }
  const auto back = decoded_keys(four, 4, 1, 32, 4);
  const std::vector<double> expected = {-1.3, 0.1, 0.8, 2.2};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_THAT(back[i], WithinAbs(expected[i], 2e-3));
  }
  // The largest error is that of 0.2 and 0.9, less than half a step.
  double largest = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(back[i]) - channel[i]));
  }
  CHECK_THAT(largest, WithinAbs(0.1, 2e-3));
  CHECK(largest <= 3.5 / 15 / 2);
  const Bytes eight = quantised_keys(channel, 4, 32, 8);
  CHECK(half_at(eight, 0) == c10::Half((2.2F - kMinimum) / 255).x);
  CHECK(half_at(eight, 1) == c10::Half(kMinimum).x);
  for (const auto& [row, code] : {std::pair{0, 0}, {1, 109}, {2, 160}, {3, 255}}) {
    CHECK(static_cast<int>(eight[4 + row]) == code);
  }
  const auto finer = decoded_keys(eight, 4, 1, 32, 8);
  const std::vector<double> near = {-1.3, 0.196078, 0.896078, 2.2};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_THAT(finer[i], WithinAbs(near[i], 1e-3));
  }
}

TEST_CASE("quantise: a value row by hand, two codes a byte, the first in the low half",
          "[memory_bank][kv][quantise]") {
  const Bytes bytes = quantised_values({-1, -0.2F, 0.05F, 2}, 1, 4);
  REQUIRE(bytes.size() == 4 + 2);
  CHECK(half_at(bytes, 0) == c10::Half(0.2F).x);
  CHECK(half_at(bytes, 1) == c10::Half(-1.0F).x);
  CHECK(bytes[4] == std::byte{0x40});
  CHECK(bytes[5] == std::byte{0xF5});
  // 0.2 in float16 is 0.19995: fifteen of them are 2 - 0.0007 above -1.
  const auto back = decoded_values(bytes, 1, 4, 4);
  const std::vector<double> expected = {-1, -0.2, 0, 2};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK_THAT(back[i], WithinAbs(expected[i], 1e-3));
  }
}

// kv_memory.md, vector V5: x = (1, -2, 0.5, 4) with 16 bins (M = 7) and with 32 (M = 15).
TEST_CASE("quantise: a row of cachegen by hand", "[memory_bank][kv][quantise]") {
  struct Vector {
    int64_t bits;
    std::vector<int> codes;
    std::vector<double> decoded;
  };
  const Vector vector = GENERATE(Vector{4, {9, 4, 8, 14}, {1.142857, -1.714286, 0.571429, 4}},
                                 Vector{5, {19, 8, 17, 30}, {1.066667, -1.866667, 0.533333, 4}});
  CAPTURE(vector.bits);
  const Bytes bytes = quantised_values({1, -2, 0.5F, 4}, 1, vector.bits, Quantiser::cachegen);
  std::vector<uint8_t> codes(4);
  unpack_codes(bytes.data() + 4, 4, vector.bits, codes.data());
  const auto back = decoded_values(bytes, 1, 4, vector.bits);
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    CHECK(static_cast<int>(codes[i]) == vector.codes[i]);
    CHECK_THAT(back[i], WithinAbs(vector.decoded[i], 3e-3));  // scale and minimum are float16
  }
  const Bytes nothing = quantised_values({0, 0, 0}, 1, 4, Quantiser::cachegen);
  CHECK(decoded_values(nothing, 1, 3, 4) == std::vector<float>{0, 0, 0});
}

TEST_CASE("quantise: codes stand bit after bit, the first lowest, each row on bytes of its own",
          "[memory_bank][kv][quantise][property]") {
  const int64_t bits = GENERATE(2, 3, 4, 8);
  const int64_t rows = GENERATE(2, 5, 33);
  const int64_t channels = GENERATE(2, 3, 5, 7, 8, 65);
  CAPTURE(bits, rows, channels);
  Random random(static_cast<uint64_t>(rows * 100 + channels));
  const auto levels = static_cast<uint64_t>((1 << bits) - 1);
  std::vector<float> codes;
  for (int64_t i = 0; i < rows * channels; ++i) {
    codes.push_back(static_cast<float>(random.below(levels + 1)));
  }
  // With a 0 and the highest code in each row and channel the scale is 1, the minimum 0, and a number
  // its own code.
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < channels; ++c) {
      if (r % 2 == c % 2 && (r < 2 || c < 2)) {
        codes[r * channels + c] = 0;
      } else if (r < 2 || c < 2) {
        codes[r * channels + c] = static_cast<float>(levels);
      }
    }
  }
  const auto row_bytes = static_cast<std::size_t>((channels * bits + 7) / 8);
  const auto check_codes = [&](std::span<const std::byte> packed) {
    REQUIRE(packed.size() == static_cast<std::size_t>(rows) * row_bytes);
    for (int64_t r = 0; r < rows; ++r) {
      for (std::size_t bit = 0; bit < 8 * row_bytes; ++bit) {
        const auto channel = static_cast<int64_t>(bit) / bits;
        const auto code = channel < channels ? static_cast<unsigned>(codes[r * channels + channel])
                                             : 0U;  // what fills up the last byte
        const auto byte = packed[static_cast<std::size_t>(r) * row_bytes + bit / 8];
        REQUIRE((static_cast<unsigned>(byte) >> (bit % 8) & 1U) ==
                (code >> (static_cast<int64_t>(bit) % bits) & 1U));
      }
    }
  };
  const Bytes keys = quantised_keys(codes, rows, 64, bits);
  check_codes(std::span(keys).subspan(static_cast<std::size_t>(4 * channels)));
  CHECK(decoded_keys(keys, rows, channels, 64, bits) == codes);
  const Bytes values = quantised_values(codes, rows, bits);
  check_codes(std::span(values).subspan(static_cast<std::size_t>(4 * rows)));
  CHECK(decoded_values(values, rows, channels, bits) == codes);
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

// Of scales in 16 bits, where the range is 64 float16 steps of the minimum: the highest number must meet
// the highest code, or what was decoded has another range than the scale was made for, and the minimum
// must come out again. The scale must be a normal float16, at least 2^-14.
TEST_CASE("quantise: what was decoded is quantised to the same bytes",
          "[memory_bank][kv][quantise][property]") {
  const auto seed = GENERATE(range(0U, 5U));
  const int64_t bits = GENERATE(2, 3, 4, 8);
  const int64_t rows = GENERATE(5, 33, 64, 71);
  const int64_t channels = GENERATE(5, 64);
  constexpr int64_t kGroup = 32;
  CAPTURE(seed, bits, rows, channels);
  Random random(seed);
  constexpr double kNarrowest = 65;
  struct Line {
    double lowest;
    double range;
  };
  const auto draw_line = [&] {
    const double lowest = (random.below(2) == 0 ? 1 : -1) * std::pow(10, 3 * random.uniform() - 1);
    return Line{lowest, half_step(lowest) * kNarrowest * std::pow(30, random.uniform())};
  };
  /// A number of the line; its ends are met at places 0 and 1.
  const auto draw = [&](const Line& line, int64_t place) {
    const double share = place == 0 ? 0 : place == 1 ? 1 : random.uniform();
    return static_cast<float>(line.lowest + share * line.range);
  };
  std::vector<float> keys(static_cast<std::size_t>(rows * channels));
  std::vector<float> values(keys.size());
  for (int64_t c = 0; c < channels; ++c) {
    Line line{};
    for (int64_t r = 0; r < rows; ++r) {
      line = r % kGroup == 0 ? draw_line() : line;
      keys[r * channels + c] = draw(line, r % kGroup);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    const Line line = draw_line();
    for (int64_t c = 0; c < channels; ++c) {
      values[r * channels + c] = draw(line, c);
    }
  }
  const Bytes key_bytes = quantised_keys(keys, rows, kGroup, bits);
  const auto keys_again = decoded_keys(key_bytes, rows, channels, kGroup, bits);
  CHECK((quantised_keys(keys_again, rows, kGroup, bits) == key_bytes));
  const Bytes value_bytes = quantised_values(values, rows, bits);
  const auto values_again = decoded_values(value_bytes, rows, channels, bits);
  CHECK((quantised_values(values_again, rows, bits) == value_bytes));
  const auto levels = static_cast<double>((1 << bits) - 1);
  for (int64_t r = 0; r < rows; ++r) {
    const auto [low, high] =
        std::minmax_element(values.begin() + r * channels, values.begin() + (r + 1) * channels);
    const double scale = (*high - *low) / levels;
    for (int64_t c = 0; c < channels; ++c) {
      REQUIRE(std::abs(values_again[r * channels + c] - values[r * channels + c]) <=
              scale / 2 + half_step(*low) + levels * half_step(scale));
    }
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
