#include "metadata_blob.h"

#include <cstdint>
#include <cstring>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

void append(std::vector<std::byte>& blob, const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  const auto size_bytes = std::as_bytes(std::span(&size, 1));
  const auto text_bytes = std::as_bytes(std::span(text));
  blob.insert(blob.end(), size_bytes.begin(), size_bytes.end());
  blob.insert(blob.end(), text_bytes.begin(), text_bytes.end());
}

std::string take(std::span<const std::byte>& rest) {
  uint32_t size = 0;
  if (rest.size() < sizeof(size)) {
    throw DataCorruption("metadata blob: a size is cut off");
  }
  std::memcpy(&size, rest.data(), sizeof(size));
  rest = rest.subspan(sizeof(size));
  if (rest.size() < size) {
    throw DataCorruption(
        fmt::format("metadata blob: {} bytes announced, {} there", size, rest.size()));
  }
  std::string text(reinterpret_cast<const char*>(rest.data()), size);
  rest = rest.subspan(size);
  return text;
}

}  // namespace

std::vector<std::byte> encode_metadata(const std::map<std::string, std::string>& metadata) {
  std::vector<std::byte> blob;
  for (const auto& [key, value] : metadata) {
    append(blob, key);
    append(blob, value);
  }
  return blob;
}

std::map<std::string, std::string> decode_metadata(std::span<const std::byte> blob) {
  std::map<std::string, std::string> metadata;
  while (!blob.empty()) {
    std::string key = take(blob);
    metadata[std::move(key)] = take(blob);
  }
  return metadata;
}

}  // namespace alluvium::memory_bank
