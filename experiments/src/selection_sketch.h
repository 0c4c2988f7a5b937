// What a gradient sketch costs beside the forward and backward pass it is a by-product of, and how true its inner products are.
//
// Threads: owned by the caller's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report.h"

namespace alluvium::experiments {

/// Rows by sketch side: ms of the scorer and of one forward and backward pass over the same batch (16 reading samples; gradients of a
/// rank-8 adapter on every layer), the best of `repeats` each; share = their ratio. cosine_error: mean absolute difference of the
/// samples' pairwise cosines to those of the exact gradients of the block.
std::vector<Row> measure_sketches(const std::string& data, const std::string& decoder,
                                  int64_t threads, int64_t repeats);

}  // namespace alluvium::experiments
