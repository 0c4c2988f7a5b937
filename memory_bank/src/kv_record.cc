#include "alluvium/memory_bank/kv_record.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>

#include "alluvium/core/crc32c.h"
#include "alluvium/core/error.h"
#include "kv/entropy.h"
#include "kv/record_check.h"
#include "kv/storage.h"

namespace alluvium::memory_bank {
namespace {

constexpr std::array<char, 4> kMagic = {'A', 'K', 'V', 'M'};
constexpr uint16_t kVersion = 6;
constexpr uint16_t kOldest = 2;        // what this build still reads, and writes where it suffices
constexpr uint16_t kEvicted = 1;       // flag: sections begin with bit maps of kept rows
constexpr uint16_t kNarrowScales = 2;  // flag, from version 3: scales and minima in 8 bits
constexpr uint16_t kCoded = 4;         // flag, from version 4: the directory names coders
constexpr uint16_t kCompensated = 8;   // flag, from version 4: sections end with compensation rows
constexpr uint16_t kFewerChannels = 16;  // flag, from version 4: keys of some channels
constexpr uint16_t kResidual = 32;       // flag, from version 4: factors of residuals behind codes
constexpr uint16_t kTail = 64;           // flag, from version 5: evicted rows in few bits
constexpr uint16_t kRowKeys = 128;       // flag, from version 5: a key's scales are a row's
constexpr uint16_t kTransformed = 256;   // flag, from version 6: steps along a basis, coded
constexpr std::size_t kAlignment = 64;

enum class StoredType : uint8_t { f32 = 1, f16 = 2, bf16 = 3 };

/// The first 128 bytes. Magic, version and header CRC keep their places in every version.
struct Header {
  std::array<char, 4> magic;
  uint16_t version;
  uint16_t flags;
  Digest fingerprint;
  Digest document_sha;
  uint32_t tokens;
  uint32_t layers;
  uint32_t kv_heads;
  uint32_t head_dim;
  StoredType type;   // what keys and values are decoded to
  uint8_t id_width;  // bytes of a token id: 2 or 4
  uint16_t key_group;
  uint32_t id_bytes;  // of all token ids
  uint64_t record_bytes;
  uint16_t residual_rank;  // when kResidual is set
  uint8_t tail_bits;       // when kTail is set
  uint8_t reserved;
  float key_step;  // when kTransformed is set
  float value_step;
  uint32_t basis_mark;
  uint32_t payload_crc;  // of everything after the header
  uint32_t header_crc;   // of the header up to here
};
static_assert(sizeof(Header) == 128 && std::is_trivially_copyable_v<Header>);
static_assert(offsetof(Header, header_crc) == 124);

/// A layer's section, from the start of the record.
struct LayerEntry {
  uint64_t begin;
  uint64_t bytes;
  uint8_t key_bits;
  uint8_t value_bits;
  EntropyCoder coder;
  uint8_t reserved;
  uint32_t plain_bytes;  // when kCoded is set: of the section before it was coded
};
static_assert(sizeof(LayerEntry) == 24 && std::is_trivially_copyable_v<LayerEntry>);

std::size_t align(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

StoredType stored_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return StoredType::f32;
    case at::kHalf:
      return StoredType::f16;
    case at::kBFloat16:
      return StoredType::bf16;
    default:
      throw InvalidArgument(fmt::format(
          "a memory's tensors must be float32, float16 or bfloat16, got {}", at::toString(type)));
  }
}

at::ScalarType scalar_type(StoredType type) {
  switch (type) {
    case StoredType::f32:
      return at::kFloat;
    case StoredType::f16:
      return at::kHalf;
    case StoredType::bf16:
      return at::kBFloat16;
  }
  throw DataCorruption(
      fmt::format("memory record: unknown element type {}", static_cast<int>(type)));
}

StoredKv store_as_they_are(const Memory& memory) {
  ALLUVIUM_CHECK(
      memory.kept.everything() && memory.keys.defined() && memory.keys.dim() == 4,
      "a memory record needs keys of shape [layers, kv_heads, n, head_dim], or what they "
      "are stored as");
  ALLUVIUM_CHECK(memory.values.defined() && memory.values.sizes() == memory.keys.sizes() &&
                     memory.values.scalar_type() == memory.keys.scalar_type(),
                 "keys and values of a memory must have one shape and dtype");
  ALLUVIUM_CHECK(memory.keys.device().is_cpu() && memory.values.device().is_cpu(),
                 "a memory to be stored must be on the CPU");
  ALLUVIUM_CHECK(memory.keys.size(2) == memory.length(), "a memory of {} tokens has {} slots",
                 memory.length(), memory.keys.size(2));
  const at::ScalarType type = memory.keys.scalar_type();
  stored_type(type);  // refuses others
  return store_kv(memory.keys, memory.values, {}, type, {});
}

/// Where the parts stand; follows from the header's counts.
struct Layout {
  std::size_t ids = sizeof(Header);
  std::size_t directory;
  std::size_t sections;

  Layout(std::size_t id_bytes, std::size_t layers)
      : directory(align(ids + id_bytes)),
        sections(align(directory + layers * sizeof(LayerEntry))) {}
};

/// Each version knows the flags of those before it.
uint16_t known_flags(uint16_t version) {
  return static_cast<uint16_t>(
      kEvicted | (version >= 3 ? kNarrowScales : 0) |
      (version >= 4 ? kCoded | kCompensated | kFewerChannels | kResidual : 0) |
      (version >= 5 ? kTail | kRowKeys : 0) | (version >= 6 ? kTransformed : 0));
}

uint16_t flags_of(const StoredKv& stored) {
  const bool coded = std::any_of(stored.layers.begin(), stored.layers.end(), [](const auto& layer) {
    return layer.coder != EntropyCoder::none;
  });
  return static_cast<uint16_t>(
      (stored.everything ? 0 : kEvicted) | (stored.scale_bits == 8 ? kNarrowScales : 0) |
      (coded ? kCoded : 0) | (stored.compensated ? kCompensated : 0) |
      (stored.fewer_channels ? kFewerChannels : 0) | (stored.residual_rank > 0 ? kResidual : 0) |
      (stored.tail_bits > 0 ? kTail : 0) | (stored.row_keys ? kRowKeys : 0) |
      (stored.transformed() ? kTransformed : 0));
}

/// The oldest that knows the flags, so that older builds read what they can.
uint16_t version_for(uint16_t flags) {
  uint16_t version = kOldest;
  while ((flags & ~known_flags(version)) != 0) {
    ++version;
  }
  return version;
}

Header read_header(std::span<const std::byte> record) {
  require(record.size() >= sizeof(Header), "shorter than its header");
  Header header;
  std::memcpy(&header, record.data(), sizeof(header));
  require(header.magic == kMagic, "wrong magic");
  require(crc32c(record.data(), offsetof(Header, header_crc)) == header.header_crc,
          "the header's CRC does not match");
  if (header.version < kOldest || header.version > kVersion ||
      (header.flags & ~known_flags(header.version)) != 0) {
    throw NotSupported(fmt::format(
        "memory record of version {} with flags {:#x}; this build reads versions {} to {}",
        header.version, header.flags, kOldest, kVersion));
  }
  require(header.record_bytes == record.size(), "its length is not the one in its header");
  require((header.flags & kCompensated) == 0 || (header.flags & kEvicted) != 0,
          "it compensates for rows and has lost none");
  require((header.flags & kTail) == 0 ||
              ((header.flags & kEvicted) != 0 && (header.flags & kCompensated) == 0 &&
               (header.tail_bits == 2 || header.tail_bits == 3 || header.tail_bits == 4)),
          "its tail is none");
  const auto positive = [](float step) { return std::isfinite(step) && step > 0; };
  require((header.flags & kTransformed) == 0 ||
              ((header.flags & ~(kTransformed | kEvicted | kCompensated)) == 0 &&
               positive(header.key_step) && positive(header.value_step)),
          "its steps along a basis are none");
  return header;
}

/// Multiplying the counts cannot wrap, and nothing of their size is allocated, when each fits the
/// record they describe: a number takes two bits at least, before it is coded.
void check_counts(const Header& header) {
  require(header.tokens > 0 && (header.id_width == 2 || header.id_width == 4) &&
              header.id_bytes == uint64_t{header.tokens} * header.id_width &&
              header.id_bytes <= header.record_bytes,
          "its token bytes do not fit its token count");
  require(header.key_group > 0, "its keys have no group");
  require(header.layers <= header.record_bytes / sizeof(LayerEntry),
          "its layers exceed its length");
  const uint64_t fold = (header.flags & kCoded) != 0 ? kMostFold : 1;
  if ((header.flags & kTransformed) != 0) {
    return;  // all but the tokens, which take bytes each, is the basis' own shape (load_kv)
  }
  const uint64_t most = 4 * fold * header.record_bytes;
  uint64_t product = 1;
  const bool loses = (header.flags & kEvicted) != 0 && (header.flags & kTail) == 0;
  const uint64_t rows = loses ? 1 : header.tokens;
  for (const uint64_t count :
       {rows, uint64_t{header.layers}, uint64_t{header.kv_heads}, uint64_t{header.head_dim}}) {
    require(count > 0 && product <= most / count, "its shape exceeds its length");
    product *= count;
  }
}

bool known_bits(int64_t bits, at::ScalarType type) {
  return bits == 2 || bits == 3 || bits == 4 || bits == 8 ||
         bits == static_cast<int64_t>(8 * at::elementSize(type));
}

std::vector<StoredLayer> read_directory(std::span<const std::byte> record, const Header& header,
                                        const Layout& layout) {
  std::vector<StoredLayer> layers;
  require(layout.sections <= record.size(), "its directory exceeds its length");
  std::size_t next = layout.sections;
  for (std::size_t i = 0; i < header.layers; ++i) {
    LayerEntry entry;
    std::memcpy(&entry, record.data() + layout.directory + i * sizeof(entry), sizeof(entry));
    require(entry.begin == next && entry.bytes <= record.size() - next,
            "a layer's section lies outside it");
    const auto known = [&](int64_t bits) {
      return (header.flags & kTransformed) != 0 ? bits == 0
                                                : known_bits(bits, scalar_type(header.type));
    };
    require(known(entry.key_bits) && known(entry.value_bits), "a layer's bits are not known");
    StoredLayer& layer = layers.emplace_back();
    layer.key_bits = entry.key_bits;
    layer.value_bits = entry.value_bits;
    layer.section = record.subspan(next, entry.bytes);
    if ((header.flags & kCoded) != 0) {
      require(entry.coder <= EntropyCoder::rans, "a layer's coder is not known");
      require(entry.coder == EntropyCoder::none || entry.plain_bytes <= kMostFold * entry.bytes,
              "a coded section stands for too much");
      layer.coder = entry.coder;
      layer.plain_bytes = entry.plain_bytes;
    }
    next = std::min(align(next + entry.bytes), record.size());
  }
  require(next == record.size(), "its shape does not fit its length");
  return layers;
}

void write_ids(const std::vector<backbone::TokenId>& tokens, std::size_t width, std::byte* out) {
  if (width == sizeof(backbone::TokenId)) {
    std::memcpy(out, tokens.data(), tokens.size() * width);
    return;
  }
  for (const backbone::TokenId token : tokens) {
    const auto id = static_cast<uint16_t>(token);
    std::memcpy(out, &id, sizeof(id));
    out += sizeof(id);
  }
}

std::vector<backbone::TokenId> read_ids(const std::byte* from, std::size_t count,
                                        std::size_t width) {
  std::vector<backbone::TokenId> tokens(count);
  if (width == sizeof(backbone::TokenId)) {
    std::memcpy(tokens.data(), from, count * width);
    return tokens;
  }
  for (backbone::TokenId& token : tokens) {
    uint16_t id;
    std::memcpy(&id, from, sizeof(id));
    from += sizeof(id);
    token = id;
  }
  return tokens;
}

}  // namespace

std::vector<std::byte> encode_record(const Memory& memory) {
  const StoredKv plain = memory.stored ? StoredKv{} : store_as_they_are(memory);
  const StoredKv& stored = memory.stored ? *memory.stored : plain;
  const bool narrow = std::all_of(memory.tokens.begin(), memory.tokens.end(), [](auto token) {
    return token >= 0 && token <= std::numeric_limits<uint16_t>::max();
  });

  Header header{};
  header.magic = kMagic;
  header.flags = flags_of(stored);
  header.version = version_for(header.flags);
  header.fingerprint = memory.fingerprint;
  header.document_sha = memory.document_sha;
  header.tokens = static_cast<uint32_t>(memory.tokens.size());
  header.layers = static_cast<uint32_t>(stored.layers.size());
  header.kv_heads = static_cast<uint32_t>(stored.kv_heads);
  header.head_dim = static_cast<uint32_t>(stored.head_dim);
  header.type = stored_type(stored.type);
  header.id_width = narrow ? sizeof(uint16_t) : sizeof(backbone::TokenId);
  header.residual_rank = static_cast<uint16_t>(stored.residual_rank);
  header.tail_bits = static_cast<uint8_t>(stored.tail_bits);
  header.key_group = static_cast<uint16_t>(stored.key_group);
  header.key_step = stored.key_step;
  header.value_step = stored.value_step;
  header.basis_mark = stored.basis_mark;
  header.id_bytes = header.tokens * header.id_width;
  const Layout layout(header.id_bytes, header.layers);
  header.record_bytes = layout.sections;
  for (const StoredKv::Layer& layer : stored.layers) {
    header.record_bytes += align(layer.section.size());
  }

  std::vector<std::byte> record(header.record_bytes);
  write_ids(memory.tokens, header.id_width, record.data() + layout.ids);
  std::size_t begin = layout.sections;
  for (std::size_t i = 0; i < stored.layers.size(); ++i) {
    const StoredKv::Layer& layer = stored.layers[i];
    LayerEntry entry{};
    entry.begin = begin;
    entry.bytes = layer.section.size();
    entry.key_bits = static_cast<uint8_t>(layer.key_bits);
    entry.value_bits = static_cast<uint8_t>(layer.value_bits);
    if ((header.flags & kCoded) != 0) {
      entry.coder = layer.coder;
      entry.plain_bytes = static_cast<uint32_t>(layer.plain_bytes);
    }
    std::memcpy(record.data() + layout.directory + i * sizeof(entry), &entry, sizeof(entry));
    std::memcpy(record.data() + begin, layer.section.data(), layer.section.size());
    begin += align(layer.section.size());
  }
  header.payload_crc = crc32c(record.data() + sizeof(header), record.size() - sizeof(header));
  header.header_crc = crc32c(&header, offsetof(Header, header_crc));
  std::memcpy(record.data(), &header, sizeof(header));
  return record;
}

Memory decode_record(std::span<const std::byte> record, const KvBasis* basis) {
  const Header header = read_header(record);
  check_counts(header);
  const Layout layout(header.id_bytes, header.layers);
  const std::vector<StoredLayer> layers = read_directory(record, header, layout);
  require(
      crc32c(record.data() + sizeof(header), record.size() - sizeof(header)) == header.payload_crc,
      "the payload's CRC does not match");

  Memory memory;
  memory.fingerprint = header.fingerprint;
  memory.document_sha = header.document_sha;
  memory.tokens = read_ids(record.data() + layout.ids, header.tokens, header.id_width);
  StoredKv stored;
  stored.kv_heads = header.kv_heads;
  stored.head_dim = header.head_dim;
  stored.key_group = header.key_group;
  stored.scale_bits = (header.flags & kNarrowScales) != 0 ? 8 : 16;
  stored.residual_rank = (header.flags & kResidual) != 0 ? header.residual_rank : 0;
  stored.type = scalar_type(header.type);
  stored.everything = (header.flags & kEvicted) == 0;
  stored.compensated = (header.flags & kCompensated) != 0;
  stored.fewer_channels = (header.flags & kFewerChannels) != 0;
  stored.tail_bits = (header.flags & kTail) != 0 ? header.tail_bits : 0;
  stored.row_keys = (header.flags & kRowKeys) != 0;
  if ((header.flags & kTransformed) != 0) {
    stored.key_step = header.key_step;
    stored.value_step = header.value_step;
    stored.basis_mark = header.basis_mark;
  }
  load_kv(stored, layers, memory, basis);
  return memory;
}

}  // namespace alluvium::memory_bank
