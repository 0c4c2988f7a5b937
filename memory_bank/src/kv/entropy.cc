#include "kv/entropy.h"

#include <algorithm>
#include <cstring>
#include <zstd.h>

#include "alluvium/core/error.h"
#include "kv/quantise.h"
#include "kv/rans.h"
#include "kv/record_check.h"
#include "kv/section_planes.h"

namespace alluvium::memory_bank {
namespace {

constexpr int kZstdLevel = 9;

std::vector<std::byte> zstd_coded(std::span<const std::byte> section) {
  std::vector<std::byte> out(ZSTD_compressBound(section.size()));
  const std::size_t bytes =
      ZSTD_compress(out.data(), out.size(), section.data(), section.size(), kZstdLevel);
  if (ZSTD_isError(bytes) != 0) {
    throw ResourceExhausted(fmt::format("zstd: {}", ZSTD_getErrorName(bytes)));
  }
  out.resize(bytes);
  return out;
}

std::vector<std::byte> rans_coded(const SectionShape& shape, std::span<const int64_t> counts,
                                  std::span<const HeadChannels> channels,
                                  std::span<const std::byte> section) {
  const auto lead = section.first(lead_bytes(shape, channels));
  const auto end = section.last(end_bytes(shape));
  std::vector<std::byte> out(lead.begin(), lead.end());
  Planes planes = empty_planes(shape, counts, channels);
  split_section(shape, counts, channels, section.data() + lead.size(), planes);
  for (const Plane& plane : planes) {
    if (plane.symbols.empty()) {
      continue;
    }
    const auto n = static_cast<int64_t>(plane.symbols.size());
    std::vector<std::byte> coded = encode_rans(plane.symbols, plane.bits);
    if (coded.size() >= code_bytes(n, plane.bits)) {
      coded.assign(code_bytes(n, plane.bits), std::byte{0});
      pack_codes(plane.symbols.data(), n, plane.bits, coded.data());
    }
    const auto bytes = static_cast<uint32_t>(coded.size());
    const auto* size = reinterpret_cast<const std::byte*>(&bytes);
    out.insert(out.end(), size, size + sizeof(bytes));
    out.insert(out.end(), coded.begin(), coded.end());
  }
  out.insert(out.end(), end.begin(), end.end());
  return out;
}

std::vector<std::byte> rans_plain(const SectionShape& shape, std::span<const std::byte> coded,
                                  std::size_t plain_bytes) {
  std::vector<int64_t> counts(static_cast<std::size_t>(shape.kv_heads), shape.tokens);
  if (!shape.everything) {
    counts.clear();
    std::vector<int64_t> positions;
    read_kept_rows(shape, coded, counts, positions);
  }
  const std::vector<HeadChannels> channels =
      shape.fewer_channels ? read_channels(shape, coded) : std::vector<HeadChannels>{};
  require(section_bytes(shape, counts, channels) == plain_bytes,
          "a coded section stands for another length than its rows");
  const std::size_t lead = lead_bytes(shape, channels);
  std::vector<std::byte> section(plain_bytes);
  std::copy_n(coded.begin(), lead, section.begin());
  coded = coded.subspan(lead);
  Planes planes = empty_planes(shape, counts, channels);
  for (Plane& plane : planes) {
    if (plane.symbols.empty()) {
      continue;
    }
    uint32_t bytes = 0;
    require(coded.size() >= sizeof(bytes), "a coded section ends between its planes");
    std::memcpy(&bytes, coded.data(), sizeof(bytes));
    coded = coded.subspan(sizeof(bytes));
    require(coded.size() >= bytes, "a plane exceeds its coded section");
    const auto n = static_cast<int64_t>(plane.symbols.size());
    if (bytes == code_bytes(n, plane.bits)) {
      unpack_codes(coded.data(), n, plane.bits, plane.symbols.data());
    } else {
      decode_rans(coded.first(bytes), plane.bits, plane.symbols);
    }
    coded = coded.subspan(bytes);
  }
  require(coded.size() == end_bytes(shape), "a coded section has another length than its planes");
  std::copy_backward(coded.begin(), coded.end(), section.end());
  join_section(shape, counts, channels, planes, section.data() + lead);
  return section;
}

}  // namespace

const std::vector<std::string>& entropy_names() {
  static const std::vector<std::string> names = {"none", "zstd", "rans"};
  return names;
}

EntropyCoder parse_entropy(const std::string& name) {
  const auto found = std::find(entropy_names().begin(), entropy_names().end(), name);
  ALLUVIUM_CHECK(found != entropy_names().end(),
                 "codec.entropy must be one of preset, {}, got '{}'",
                 fmt::join(entropy_names(), ", "), name);
  return static_cast<EntropyCoder>(found - entropy_names().begin());
}

std::optional<std::vector<std::byte>> code_section(EntropyCoder coder, const SectionShape& shape,
                                                   std::span<const int64_t> counts,
                                                   std::span<const HeadChannels> channels,
                                                   std::span<const std::byte> section) {
  if (coder == EntropyCoder::none || section.size() > UINT32_MAX) {
    return std::nullopt;
  }
  std::vector<std::byte> coded = coder == EntropyCoder::zstd
                                     ? zstd_coded(section)
                                     : rans_coded(shape, counts, channels, section);
  if (coded.size() >= section.size() || coded.size() * kMostFold < section.size()) {
    return std::nullopt;
  }
  return coded;
}

std::vector<std::byte> plain_section(EntropyCoder coder, const SectionShape& shape,
                                     std::span<const std::byte> coded, std::size_t plain_bytes) {
  if (coder == EntropyCoder::rans) {
    return rans_plain(shape, coded, plain_bytes);
  }
  std::vector<std::byte> section(plain_bytes);
  require(ZSTD_decompress(section.data(), plain_bytes, coded.data(), coded.size()) == plain_bytes,
          "a coded section does not give its length");
  return section;
}

}  // namespace alluvium::memory_bank
