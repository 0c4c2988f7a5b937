// Named tensors in one .safetensors file: what adapters and training states are kept in.
//
// Source : https://github.com/huggingface/safetensors, "Format".
// Threads: thread-safe functions.
#pragma once

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

namespace alluvium::backbone {

using TensorMap = std::map<std::string, at::Tensor>;

/// Writes float32, bfloat16 or int64 tensors of any device, in the order of their names. The file is complete on the disk before it
/// takes the place of an older one (written beside it, fsync, rename). Throws ResourceExhausted naming the path when that fails.
void write_safetensors(const std::string& path, const TensorMap& tensors);

/// The tensors of a file, copied to the CPU; float16 becomes float32. Throws InvalidArgument when the file cannot be read,
/// DataCorruption when it is damaged.
TensorMap load_safetensors(const std::string& path);

}  // namespace alluvium::backbone
