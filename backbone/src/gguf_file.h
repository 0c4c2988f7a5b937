// A GGUF file as a Checkpoint.
//
// Source : https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
// Differs: dimensions are turned round into torch's order (slowest first); the digest is computed at its first use.
// Threads: immutable after construction.
#pragma once

#include <mutex>
#include <unordered_map>

#include "alluvium/backbone/checkpoint.h"
#include "byte_reader.h"
#include "mapped_file.h"

namespace alluvium::backbone {

class GgufFile final : public Checkpoint {
 public:
  /// Errors as open_gguf().
  explicit GgufFile(const std::string& path);

  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const MetadataValue* find_metadata(const std::string& key) const override;
  const char* kind() const override { return "gguf"; }
  const Digest& digest() const override;

 private:
  void read_header(ByteReader& reader);
  void read_metadata(ByteReader& reader);
  void read_tensors(ByteReader& reader);
  std::size_t alignment() const;

  MappedFile file_;
  std::size_t tensor_count_ = 0;
  std::size_t metadata_count_ = 0;
  std::unordered_map<std::string, MetadataValue> metadata_;
  std::vector<StoredTensor> tensors_;
  mutable std::once_flag digest_once_;
  mutable Digest digest_{};
};

}  // namespace alluvium::backbone
