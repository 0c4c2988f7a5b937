// Sizes of stored tensors.
//
// Threads: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "alluvium/backbone/checkpoint.h"

namespace alluvium::backbone {

/// Elements that share one block of a format: 32 for the block formats, else 1.
inline constexpr int64_t kBlockElements = 32;
int64_t block_elements(StorageFormat format);

/// Bytes of one block.
std::size_t block_bytes(StorageFormat format);

/// Product of the dimensions; 1 for a scalar. Nothing when a dimension is negative or the product
/// passes 2^62.
std::optional<int64_t> element_count(const std::vector<int64_t>& shape);

/// Bytes a tensor of this shape takes. Nothing when element_count() has none, when the bytes pass
/// 2^62, or when the last dimension of a block format is not a multiple of its block.
std::optional<std::size_t> stored_bytes(StorageFormat format, const std::vector<int64_t>& shape);

}  // namespace alluvium::backbone
