// A Hugging Face model directory as a Checkpoint.
//
// Purpose: config.json gives the description, model.safetensors or the shards its index names give the tensors.
// Differs: the digest covers config.json and the weight files, each after its name and size; it is computed at its first use.
// Threads: immutable after construction.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>

#include "alluvium/backbone/checkpoint.h"
#include "mapped_file.h"

namespace alluvium::backbone {

class HuggingFaceDirectory final : public Checkpoint {
 public:
  /// Errors as open_huggingface().
  explicit HuggingFaceDirectory(const std::string& directory);

  const std::vector<StoredTensor>& tensors() const override { return tensors_; }
  const MetadataValue* find_metadata(const std::string& key) const override;
  const char* kind() const override { return "huggingface"; }
  const Digest& digest() const override;

 private:
  const MappedFile& map(const std::string& name);

  std::string directory_;
  std::unordered_map<std::string, MetadataValue> metadata_;
  std::vector<std::unique_ptr<MappedFile>> files_;  // config.json, then the weights
  std::vector<StoredTensor> tensors_;
  mutable std::once_flag digest_once_;
  mutable Digest digest_{};
};

}  // namespace alluvium::backbone
