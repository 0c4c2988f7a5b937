#include "alluvium/memory_bank/kv_record.h"

#include <array>
#include <cstring>
#include <type_traits>

#include <ATen/ops/empty.h>

#include "alluvium/core/crc32c.h"
#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

constexpr std::array<char, 4> kMagic = {'A', 'K', 'V', 'M'};
constexpr uint16_t kVersion = 1;
constexpr std::size_t kAlignment = 64;

enum class StoredType : uint8_t { f32 = 1, f16 = 2, bf16 = 3 };

/// The first 128 bytes. Magic, version and header CRC keep their places in every version.
struct Header {
  std::array<char, 4> magic;
  uint16_t version;
  uint16_t flags;  // none defined
  Digest fingerprint;
  Digest document_sha;
  uint32_t tokens;
  uint32_t layers;
  uint32_t kv_heads;
  uint32_t head_dim;
  uint8_t key_bits;
  uint8_t value_bits;
  StoredType key_type;
  StoredType value_type;
  uint32_t id_bytes;  // of all token ids
  uint64_t record_bytes;
  uint8_t reserved[16];
  uint32_t payload_crc;  // of everything after the header
  uint32_t header_crc;   // of the header up to here
};
static_assert(sizeof(Header) == 128 && std::is_trivially_copyable_v<Header>);
static_assert(offsetof(Header, header_crc) == 124);

/// Where a layer's sections begin, from the start of the record.
struct LayerEntry {
  uint64_t keys;
  uint64_t values;
};

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

/// Sizes and places that follow from the header's counts.
struct Layout {
  std::size_t ids;
  std::size_t directory;
  std::size_t sections;
  std::size_t section_bytes;
  std::size_t section_stride;
  std::size_t record_bytes;

  Layout(uint64_t tokens, uint64_t layers, uint64_t kv_heads, uint64_t head_dim, uint64_t width)
      : ids(sizeof(Header)),
        directory(align(ids + tokens * sizeof(backbone::TokenId))),
        sections(align(directory + layers * sizeof(LayerEntry))),
        section_bytes(kv_heads * tokens * head_dim * width),
        section_stride(align(section_bytes)),
        record_bytes(sections + 2 * layers * section_stride) {}
};

void check_memory(const Memory& memory) {
  ALLUVIUM_CHECK(memory.keys.defined() && memory.keys.dim() == 4,
                 "a memory record needs keys of shape [layers, kv_heads, n, head_dim]");
  ALLUVIUM_CHECK(memory.values.defined() && memory.values.sizes() == memory.keys.sizes() &&
                     memory.values.scalar_type() == memory.keys.scalar_type(),
                 "keys and values of a memory must have one shape and dtype");
  ALLUVIUM_CHECK(memory.keys.device().is_cpu() && memory.values.device().is_cpu(),
                 "a memory to be stored must be on the CPU");
  ALLUVIUM_CHECK(memory.keys.size(2) == memory.length(), "a memory of {} tokens has {} slots",
                 memory.length(), memory.keys.size(2));
}

void require(bool condition, const char* what) {
  if (!condition) {
    throw DataCorruption(fmt::format("memory record: {}", what));
  }
}

Header read_header(std::span<const std::byte> record) {
  require(record.size() >= sizeof(Header), "shorter than its header");
  Header header;
  std::memcpy(&header, record.data(), sizeof(header));
  require(header.magic == kMagic, "wrong magic");
  require(crc32c(record.data(), offsetof(Header, header_crc)) == header.header_crc,
          "the header's CRC does not match");
  if (header.version != kVersion || header.flags != 0) {
    throw NotSupported(
        fmt::format("memory record of version {} with flags {:#x}; this build reads "
                    "version {} without flags",
                    header.version, header.flags, kVersion));
  }
  require(header.record_bytes == record.size(), "its length is not the one in its header");
  return header;
}

/// Multiplying the four counts cannot wrap when each fits the record they describe.
void check_counts(const Header& header) {
  const uint64_t width = at::elementSize(scalar_type(header.key_type));
  require(header.value_type == header.key_type && header.key_bits == 8 * width &&
              header.value_bits == 8 * width,
          "its element types contradict each other");
  require(header.id_bytes == uint64_t{header.tokens} * sizeof(backbone::TokenId),
          "its token bytes do not fit its token count");
  uint64_t product = width;
  for (const uint64_t count : {header.tokens, header.layers, header.kv_heads, header.head_dim}) {
    require(count > 0 && product <= header.record_bytes / count, "its shape exceeds its length");
    product *= count;
  }
}

}  // namespace

std::vector<std::byte> encode_record(const Memory& memory) {
  check_memory(memory);
  const at::Tensor keys = memory.keys.contiguous();
  const at::Tensor values = memory.values.contiguous();
  const auto width = static_cast<uint8_t>(8 * keys.element_size());

  Header header{};
  header.magic = kMagic;
  header.version = kVersion;
  header.fingerprint = memory.fingerprint;
  header.document_sha = memory.document_sha;
  header.layers = static_cast<uint32_t>(keys.size(0));
  header.kv_heads = static_cast<uint32_t>(keys.size(1));
  header.tokens = static_cast<uint32_t>(keys.size(2));
  header.head_dim = static_cast<uint32_t>(keys.size(3));
  header.key_bits = header.value_bits = width;
  header.key_type = header.value_type = stored_type(keys.scalar_type());
  header.id_bytes = header.tokens * static_cast<uint32_t>(sizeof(backbone::TokenId));
  const Layout layout(header.tokens, header.layers, header.kv_heads, header.head_dim,
                      keys.element_size());
  header.record_bytes = layout.record_bytes;

  std::vector<std::byte> record(layout.record_bytes);
  std::memcpy(record.data() + layout.ids, memory.tokens.data(), header.id_bytes);
  const auto* key_bytes = static_cast<const std::byte*>(keys.const_data_ptr());
  const auto* value_bytes = static_cast<const std::byte*>(values.const_data_ptr());
  std::size_t section = layout.sections;
  for (std::size_t layer = 0; layer < header.layers; ++layer) {
    const LayerEntry entry{section, section + layout.section_stride};
    std::memcpy(record.data() + layout.directory + layer * sizeof(entry), &entry, sizeof(entry));
    const std::size_t from = layer * layout.section_bytes;
    std::memcpy(record.data() + entry.keys, key_bytes + from, layout.section_bytes);
    std::memcpy(record.data() + entry.values, value_bytes + from, layout.section_bytes);
    section += 2 * layout.section_stride;
  }
  header.payload_crc = crc32c(record.data() + sizeof(header), record.size() - sizeof(header));
  header.header_crc = crc32c(&header, offsetof(Header, header_crc));
  std::memcpy(record.data(), &header, sizeof(header));
  return record;
}

Memory decode_record(std::span<const std::byte> record) {
  const Header header = read_header(record);
  check_counts(header);
  const at::ScalarType type = scalar_type(header.key_type);
  const Layout layout(header.tokens, header.layers, header.kv_heads, header.head_dim,
                      at::elementSize(type));
  require(layout.record_bytes == record.size(), "its shape does not fit its length");
  require(
      crc32c(record.data() + sizeof(header), record.size() - sizeof(header)) == header.payload_crc,
      "the payload's CRC does not match");

  Memory memory;
  memory.fingerprint = header.fingerprint;
  memory.document_sha = header.document_sha;
  memory.tokens.resize(header.tokens);
  std::memcpy(memory.tokens.data(), record.data() + layout.ids, header.id_bytes);
  const std::array<int64_t, 4> shape = {header.layers, header.kv_heads, header.tokens,
                                        header.head_dim};
  memory.keys = at::empty(shape, at::TensorOptions().dtype(type));
  memory.values = at::empty(shape, at::TensorOptions().dtype(type));
  auto* keys = static_cast<std::byte*>(memory.keys.mutable_data_ptr());
  auto* values = static_cast<std::byte*>(memory.values.mutable_data_ptr());
  for (std::size_t layer = 0; layer < header.layers; ++layer) {
    LayerEntry entry;
    std::memcpy(&entry, record.data() + layout.directory + layer * sizeof(entry), sizeof(entry));
    for (const uint64_t start : {entry.keys, entry.values}) {
      require(start >= layout.sections && start <= record.size() - layout.section_bytes,
              "a layer's section lies outside it");
    }
    std::memcpy(keys + layer * layout.section_bytes, record.data() + entry.keys,
                layout.section_bytes);
    std::memcpy(values + layer * layout.section_bytes, record.data() + entry.values,
                layout.section_bytes);
  }
  return memory;
}

}  // namespace alluvium::memory_bank
