// What optimisers share: checks of their options and of a checkpoint's tensors.
//
// Threads: pure functions.
#pragma once

#include <string>

#include "alluvium/backbone/safetensors.h"
#include "alluvium/core/error.h"
#include "alluvium/learners/optimiser.h"

namespace alluvium::learners {

/// Throws InvalidArgument.
void check(const AdamWOptions& options);

/// Throws DataCorruption when the tensor is missing or not of so many numbers.
inline at::Tensor require_tensor(const backbone::TensorMap& state, const std::string& name,
                                 int64_t numbers) {
  const auto found = state.find(name);
  if (found == state.end() || found->second.numel() != numbers) {
    throw DataCorruption(
        fmt::format("training state: '{}' is missing or not of {} numbers", name, numbers));
  }
  return found->second;
}

}  // namespace alluvium::learners
