// What this machine can do at most, measured in the same run as what is compared with it.
//
// Threads: uses ATen's intra-operator threads; call from one thread.
#pragma once

#include <cstddef>

#include <ATen/core/Tensor.h>

namespace alluvium::experiments {

/// Floating-point operations a second of the library's matrix product (1024 rows, 3072 x 1024 weights) in `dtype` on the CPU; the best of
/// several calls.
double matrix_product_flops(at::ScalarType dtype);

/// Bytes a second read from memory by all threads summing `bytes` of a buffer; the best of several passes.
double memory_bandwidth(std::size_t bytes = std::size_t{512} << 20);

}  // namespace alluvium::experiments
