// What the directory of a memory record says, read by the layout in docs/FORMATS.md alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <span>
#include <vector>

namespace alluvium::tests {

/// Bits of a layer's numbers.
struct LayerBits {
  int64_t keys = 0;
  int64_t values = 0;

  bool operator==(const LayerBits&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const LayerBits& bits) {
    return out << 'K' << bits.keys << 'V' << bits.values;
  }
};

inline std::vector<LayerBits> layer_bits(std::span<const std::byte> record) {
  constexpr std::size_t kLayersAt = 76;
  constexpr std::size_t kIdBytesAt = 92;
  constexpr std::size_t kIdsAt = 128;
  constexpr std::size_t kEntryBytes = 24;
  constexpr std::size_t kBitsAt = 16;  // within an entry
  const auto number_at = [&](std::size_t at) {
    uint32_t number;
    std::memcpy(&number, record.data() + at, sizeof(number));
    return std::size_t{number};
  };
  const std::size_t directory = (kIdsAt + number_at(kIdBytesAt) + 63) / 64 * 64;
  std::vector<LayerBits> layers;
  for (std::size_t i = 0; i < number_at(kLayersAt); ++i) {
    const std::byte* bits = record.data() + directory + i * kEntryBytes + kBitsAt;
    layers.push_back({static_cast<int64_t>(bits[0]), static_cast<int64_t>(bits[1])});
  }
  return layers;
}

}  // namespace alluvium::tests
