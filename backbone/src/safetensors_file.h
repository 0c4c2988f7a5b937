// One .safetensors file.
//
// Source : https://github.com/huggingface/safetensors, "Format": 64-bit header length, JSON header, tensors.
// Threads: thread-safe.
#pragma once

#include <vector>

#include "alluvium/backbone/checkpoint.h"
#include "mapped_file.h"

namespace alluvium::backbone {

/// The tensors of `file` in the order of their offsets; `data` points into its mapping.
/// Throws DataCorruption on a damaged header, offsets outside the file, or an extent that is not
/// the shape's size; NotSupported naming a dtype other than F32, F16, BF16, I64.
std::vector<StoredTensor> read_safetensors(const MappedFile& file);

}  // namespace alluvium::backbone
