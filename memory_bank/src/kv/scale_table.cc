#include "kv/scale_table.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <c10/util/Half.h>

namespace alluvium::memory_bank {
namespace {

constexpr float kHighestCode = 255;

float rounded(float x) { return static_cast<float>(c10::Half(x)); }

/// Evenly spaced numbers, in float16 themselves.
struct Ladder {
  c10::Half lowest;
  c10::Half step;
};

Ladder ladder_of(const std::vector<float>& numbers) {
  if (numbers.empty()) {
    return {};
  }
  const auto [low, high] = std::minmax_element(numbers.begin(), numbers.end());
  return {c10::Half(*low), c10::Half((*high - *low) / kHighestCode)};
}

uint8_t code_on(const Ladder& ladder, float x) {
  const auto step = static_cast<float>(ladder.step);
  return step == 0 ? uint8_t{0}
                   : static_cast<uint8_t>(std::nearbyint(std::clamp(
                         (x - static_cast<float>(ladder.lowest)) / step, 0.0F, kHighestCode)));
}

float number_on(const Ladder& ladder, uint8_t code) {
  return static_cast<float>(code) * static_cast<float>(ladder.step) +
         static_cast<float>(ladder.lowest);
}

void write_wide(ScaleTable& table, std::byte* out) {
  const auto width = static_cast<std::size_t>(table.width);
  std::vector<c10::Half> line(2 * width);
  for (std::size_t at = 0; at < table.scales.size(); at += width) {
    for (std::size_t i = 0; i < width; ++i) {
      line[i] = c10::Half(table.scales[at + i]);
      line[width + i] = c10::Half(table.minima[at + i]);
      table.scales[at + i] = rounded(table.scales[at + i]);
      table.minima[at + i] = rounded(table.minima[at + i]);
    }
    std::memcpy(out, line.data(), line.size() * sizeof(c10::Half));
    out += line.size() * sizeof(c10::Half);
  }
}

void write_narrow(ScaleTable& table, std::byte* out) {
  const auto width = static_cast<std::size_t>(table.width);
  const Ladder scales = ladder_of(table.scales);
  const Ladder minima = ladder_of(table.minima);
  for (const Ladder& ladder : {scales, minima}) {
    std::memcpy(out, &ladder, sizeof(ladder));
    out += sizeof(ladder);
  }
  const auto write = [&](std::vector<float>& numbers, const Ladder& ladder, std::size_t at) {
    for (std::size_t i = at; i < at + width; ++i) {
      const uint8_t code = code_on(ladder, numbers[i]);
      numbers[i] = number_on(ladder, code);
      *out++ = static_cast<std::byte>(code);
    }
  };
  for (std::size_t at = 0; at < table.scales.size(); at += width) {
    write(table.scales, scales, at);
    write(table.minima, minima, at);
  }
}

}  // namespace

ScaleTable::ScaleTable(int64_t line_count, int64_t line_width)
    : lines(line_count),
      width(line_width),
      scales(static_cast<std::size_t>(line_count * line_width)),
      minima(scales.size()) {}

std::size_t scale_bytes(int64_t lines, int64_t width, int64_t scale_bits) {
  const auto numbers = static_cast<std::size_t>(2 * lines * width);
  return scale_bits == 8 ? 2 * sizeof(Ladder) + numbers : numbers * sizeof(c10::Half);
}

void write_scales(ScaleTable& table, int64_t scale_bits, std::byte* out) {
  if (scale_bits == 8) {
    write_narrow(table, out);
  } else {
    write_wide(table, out);
  }
}

void read_scales(const std::byte* bytes, int64_t scale_bits, ScaleTable& table) {
  const auto width = static_cast<std::size_t>(table.width);
  if (scale_bits != 8) {
    std::vector<c10::Half> line(2 * width);
    for (std::size_t at = 0; at < table.scales.size(); at += width) {
      std::memcpy(line.data(), bytes, line.size() * sizeof(c10::Half));
      bytes += line.size() * sizeof(c10::Half);
      std::copy_n(line.begin(), width, table.scales.begin() + static_cast<std::ptrdiff_t>(at));
      std::copy_n(line.begin() + table.width, width,
                  table.minima.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return;
  }
  Ladder scales;
  Ladder minima;
  std::memcpy(&scales, bytes, sizeof(scales));
  std::memcpy(&minima, bytes + sizeof(scales), sizeof(minima));
  bytes += 2 * sizeof(Ladder);
  for (std::size_t at = 0; at < table.scales.size(); at += width) {
    for (std::size_t i = at; i < at + width; ++i) {
      table.scales[i] = number_on(scales, static_cast<uint8_t>(*bytes++));
    }
    for (std::size_t i = at; i < at + width; ++i) {
      table.minima[i] = number_on(minima, static_cast<uint8_t>(*bytes++));
    }
  }
}

}  // namespace alluvium::memory_bank
