// Frozen weights and their description, read from a file without copying them.
//
// Purpose: one view of GGUF files and Hugging Face directories, so that a model family is built the
// same way from either. Differs: every length and offset in a file is checked against the file's
// size before it is used; a damaged file throws
//          DataCorruption that names the field, and never reads outside the mapping.
// Threads: immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/core/sha256.h"

namespace alluvium::backbone {

/// Storage formats of a stored tensor. The block formats are GGML's: 32 elements share a scale (and
/// a minimum in q4_1).
enum class StorageFormat { f32, f16, bf16, q8_0, q4_0, q4_1, i64 };

const char* to_string(StorageFormat format);

/// One tensor of a checkpoint. `data` points into the mapping, which the Checkpoint keeps alive.
struct StoredTensor {
  std::string name;
  StorageFormat format = StorageFormat::f32;
  std::vector<int64_t>
      shape;  ///< row-major, slowest dimension first (torch's order, also for GGUF)
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
};

/// A value of the checkpoint's description.
using MetadataValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                                   std::vector<double>, std::vector<std::string>>;

/// A checkpoint opened for reading.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  /// All tensors in file order.
  virtual const std::vector<StoredTensor>& tensors() const = 0;

  /// A description value by its GGUF key (e.g. "llama.block_count") or, for a Hugging Face
  /// directory, by its config.json key prefixed "config." (e.g. "config.num_hidden_layers"; nested
  /// keys joined by dots). Nothing when absent.
  virtual const MetadataValue* find_metadata(const std::string& key) const = 0;

  /// "gguf" or "huggingface".
  virtual const char* kind() const = 0;

  /// SHA-256 over the checkpoint's file(s): the weights' identity.
  virtual const Digest& digest() const = 0;

  /// The tensor named `name`; null when absent.
  const StoredTensor* find_tensor(const std::string& name) const;

  /// As find_tensor, but throws DataCorruption when absent or when its shape is not `shape`.
  const StoredTensor& require_tensor(const std::string& name,
                                     const std::vector<int64_t>& shape) const;

  // Typed look-ups; throw DataCorruption when the value has another type, or is absent and no
  // fallback is given.
  int64_t integer(const std::string& key, std::optional<int64_t> fallback = std::nullopt) const;
  double real(const std::string& key, std::optional<double> fallback = std::nullopt) const;
  std::string text(const std::string& key,
                   const std::optional<std::string>& fallback = std::nullopt) const;
};

/// Opens a GGUF file (version 2 or 3, little-endian).
/// Throws InvalidArgument when the path cannot be read, DataCorruption on a damaged file,
/// NotSupported naming a tensor format outside StorageFormat.
std::unique_ptr<Checkpoint> open_gguf(const std::string& path);

/// Opens a Hugging Face model directory: config.json and either model.safetensors or the shards of
/// model.safetensors.index.json.
std::unique_ptr<Checkpoint> open_huggingface(const std::string& directory);

/// Opens either kind: a directory is Hugging Face, a file is GGUF.
std::unique_ptr<Checkpoint> open_checkpoint(const std::string& path);

/// The tensor's values as float32 on the CPU, in a tensor of its own. Exact for every format (block
/// formats: code * scale + minimum evaluated in float32).
at::Tensor dequantise(const StoredTensor& tensor);

}  // namespace alluvium::backbone
