// Elementwise model operations on tensors: on the CPU through row_kernels.h, on a GPU through
// row_kernels_cuda.h when that library is loaded, else through ATen.
//
// Threads: pure functions; CPU work uses ATen's intra-operator threads.
#pragma once

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/rope.h"

namespace alluvium::backbone {

/// x: [rows, d] float32, weight: [d] float32 -> [rows, d] in `dtype`.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                    at::ScalarType dtype);

/// gate_up: [rows, 2 d_ff] -> silu(gate) * up, [rows, d_ff], same dtype.
at::Tensor swiglu(const at::Tensor& gate_up);

/// Gradient of swiglu() with respect to gate_up, given that of its result: [rows, 2 d_ff].
at::Tensor swiglu_gradient(const at::Tensor& gate_up, const at::Tensor& d_out);

/// x += y; x: [rows, d] float32, y: [rows, d] any float dtype.
void add_(const at::Tensor& x, const at::Tensor& y);

/// Rotates `states` [n, heads, head_dim] (rows may be strided, head_dim contiguous), row i to
/// position first_position + i, into `out`: [heads, n, head_dim] when `heads_first`, else [n,
/// heads, head_dim]; out may be strided in its first two dimensions.
enum class HeadOrder { heads_first, rows_first };
void rotate_into_(const at::Tensor& out, const at::Tensor& states, const Rope& rope,
                  int64_t first_position, HeadOrder order);

/// Rotates keys [heads, m, head_dim] row i to positions[i] into out [heads, m, head_dim] of another
/// float dtype; out may be strided.
void rotate_keys_into_(const at::Tensor& out, const at::Tensor& keys, const Rope& rope,
                       const at::Tensor& positions);

}  // namespace alluvium::backbone
