// What the directory of a memory record says, read by the layout in docs/FORMATS.md alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <span>
#include <vector>

#include "alluvium/core/crc32c.h"

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

/// Where the directory's entries begin, and how long each is.
inline constexpr std::size_t kEntryBytes = 24;
inline std::size_t directory_at(std::span<const std::byte> record) {
  constexpr std::size_t kIdBytesAt = 92;
  constexpr std::size_t kIdsAt = 128;
  uint32_t id_bytes;
  std::memcpy(&id_bytes, record.data() + kIdBytesAt, sizeof(id_bytes));
  return (kIdsAt + id_bytes + 63) / 64 * 64;
}

/// Of the whole directory.
inline std::span<const std::byte> entries_of(std::span<const std::byte> record) {
  constexpr std::size_t kLayersAt = 76;
  uint32_t layers;
  std::memcpy(&layers, record.data() + kLayersAt, sizeof(layers));
  return record.subspan(directory_at(record), layers * kEntryBytes);
}

inline std::vector<LayerBits> layer_bits(std::span<const std::byte> record) {
  constexpr std::size_t kBitsAt = 16;  // within an entry
  std::vector<LayerBits> layers;
  const auto entries = entries_of(record);
  for (std::size_t at = kBitsAt; at < entries.size(); at += kEntryBytes) {
    layers.push_back({static_cast<int64_t>(entries[at]), static_cast<int64_t>(entries[at + 1])});
  }
  return layers;
}

/// Coder of each layer's section, 0 for none.
inline std::vector<int> layer_coders(std::span<const std::byte> record) {
  constexpr std::size_t kCoderAt = 18;
  std::vector<int> coders;
  const auto entries = entries_of(record);
  for (std::size_t at = kCoderAt; at < entries.size(); at += kEntryBytes) {
    coders.push_back(static_cast<int>(entries[at]));
  }
  return coders;
}

/// Writes a number into a record and makes both CRCs right again, as a forger would.
template <class T>
std::vector<std::byte> forge(std::vector<std::byte> record, std::size_t at, T value) {
  constexpr std::size_t kPayloadCrcAt = 120;
  constexpr std::size_t kHeaderCrcAt = 124;
  constexpr std::size_t kPayloadAt = 128;
  std::memcpy(record.data() + at, &value, sizeof(value));
  const uint32_t payload = crc32c(record.data() + kPayloadAt, record.size() - kPayloadAt);
  std::memcpy(record.data() + kPayloadCrcAt, &payload, sizeof(payload));
  const uint32_t header = crc32c(record.data(), kHeaderCrcAt);
  std::memcpy(record.data() + kHeaderCrcAt, &header, sizeof(header));
  return record;
}

}  // namespace alluvium::tests
