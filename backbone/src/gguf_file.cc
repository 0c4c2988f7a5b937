#include "gguf_file.h"

#include <algorithm>
#include <unordered_set>

#include "alluvium/core/error.h"
#include "ggml_format.h"
#include "gguf_metadata.h"
#include "storage_format.h"

namespace alluvium::backbone {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF", little-endian
constexpr uint32_t kDefaultAlignment = 32;
constexpr int64_t kLargestAlignment = int64_t{1} << 20;
constexpr uint32_t kMostDimensions = 4;

// A description entry is at least its key's length, its type and one byte; a tensor's is its name's
// length, rank, one dimension, format and offset.
constexpr std::size_t kLeastMetadataBytes = 8 + 4 + 1;
constexpr std::size_t kLeastTensorBytes = 8 + 4 + 8 + 4 + 8;

// A tensor's entry in the header; its bytes lie `offset` behind the start of the data section.
struct TensorEntry {
  StoredTensor tensor;
  uint64_t offset = 0;
};

TensorEntry read_entry(ByteReader& reader) {
  TensorEntry entry;
  StoredTensor& tensor = entry.tensor;
  tensor.name = reader.read_text("tensor name");
  const auto rank = reader.read<uint32_t>("tensor rank");
  if (rank == 0 || rank > kMostDimensions) {
    reader.fail(fmt::format("tensor '{}' has {} dimensions, 1 to {} are allowed", tensor.name, rank,
                            kMostDimensions));
  }
  for (uint32_t i = 0; i < rank; ++i) {
    const auto size = reader.read<uint64_t>("tensor dimension");
    if (size == 0 || size > (uint64_t{1} << 62)) {
      reader.fail(fmt::format("tensor '{}' has a dimension of {}", tensor.name, size));
    }
    tensor.shape.push_back(static_cast<int64_t>(size));
  }
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  tensor.format = storage_format_of_ggml(reader.read<uint32_t>("tensor format"), tensor.name);
  entry.offset = reader.read<uint64_t>("tensor offset");
  const std::optional<std::size_t> bytes = stored_bytes(tensor.format, tensor.shape);
  if (!bytes) {
    reader.fail(fmt::format("tensor '{}' of format {} cannot have shape [{}]", tensor.name,
                            to_string(tensor.format), fmt::join(tensor.shape, ", ")));
  }
  tensor.bytes = *bytes;
  return entry;
}

}  // namespace

GgufFile::GgufFile(const std::string& path) : file_(path) {
  ByteReader reader(file_.text(), path);
  read_header(reader);
  read_metadata(reader);
  read_tensors(reader);
}

void GgufFile::read_header(ByteReader& reader) {
  const auto magic = reader.read<uint32_t>("magic");
  if (magic != kMagic) {
    reader.fail(
        fmt::format("the magic is {:#010x}, a GGUF file starts with {:#010x}", magic, kMagic));
  }
  const auto version = reader.read<uint32_t>("version");
  if (version != 2 && version != 3) {
    throw NotSupported(fmt::format("'{}' is GGUF version {}{}; supported are 2 and 3", file_.path(),
                                   version, (version & 0xffff) == 0 ? " (big-endian?)" : ""));
  }
  tensor_count_ = reader.read_count(kLeastTensorBytes, "tensor count");
  metadata_count_ = reader.read_count(kLeastMetadataBytes, "description count");
}

void GgufFile::read_metadata(ByteReader& reader) {
  for (std::size_t i = 0; i < metadata_count_; ++i) {
    const std::string key(reader.read_text("description key"));
    if (!metadata_.emplace(key, read_gguf_value(reader, key)).second) {
      reader.fail(fmt::format("value '{}' is there twice", key));
    }
  }
}

std::size_t GgufFile::alignment() const {
  const int64_t alignment = integer("general.alignment", kDefaultAlignment);
  const bool power_of_two = alignment > 0 && (alignment & (alignment - 1)) == 0;
  if (!power_of_two || alignment > kLargestAlignment) {
    throw DataCorruption(
        fmt::format("'{}' has general.alignment {}, a power of two up to {} is allowed",
                    file_.path(), alignment, kLargestAlignment));
  }
  return static_cast<std::size_t>(alignment);
}

void GgufFile::read_tensors(ByteReader& reader) {
  std::vector<TensorEntry> entries;
  entries.reserve(tensor_count_);
  std::unordered_set<std::string> names;
  for (std::size_t i = 0; i < tensor_count_; ++i) {
    entries.push_back(read_entry(reader));
    if (!names.insert(entries.back().tensor.name).second) {
      reader.fail(fmt::format("tensor '{}' is there twice", entries.back().tensor.name));
    }
  }
  const std::size_t aligned = alignment();
  const std::size_t data_start = (reader.offset() + aligned - 1) / aligned * aligned;
  const std::size_t data_bytes = file_.size() > data_start ? file_.size() - data_start : 0;
  for (TensorEntry& entry : entries) {
    StoredTensor& tensor = entry.tensor;
    if (entry.offset % aligned != 0 || entry.offset > data_bytes ||
        tensor.bytes > data_bytes - entry.offset) {
      throw DataCorruption(
          fmt::format("'{}' is damaged: tensor '{}' lies at {} with {} bytes, the data section has "
                      "{} (aligned to {})",
                      file_.path(), tensor.name, entry.offset, tensor.bytes, data_bytes, aligned));
    }
    tensor.data = file_.data() + data_start + entry.offset;
    tensors_.push_back(std::move(tensor));
  }
}

const MetadataValue* GgufFile::find_metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

const Digest& GgufFile::digest() const {
  std::call_once(digest_once_, [&] { digest_ = sha256(file_.text()); });
  return digest_;
}

std::unique_ptr<Checkpoint> open_gguf(const std::string& path) {
  return std::make_unique<GgufFile>(path);
}

}  // namespace alluvium::backbone
