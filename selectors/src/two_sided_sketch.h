// The sketch of a linear map's gradient, from the rows that enter and leave the map.
//
// Source : LoGra (Choe et al., 2024): A G C^T for G = sum over t of delta_t x_t^T, without G.
// Cost   : rows * (a out + c in + a c) multiply-adds.
// Threads: a pure function.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

namespace alluvium::selectors {

/// left: [out, a] = A^T; right: [in, c] = C^T. delta: [rows, out], the loss's gradient in the map's outputs; input: [rows, in]; all of one
/// dtype and device. Rows first_row[b] to first_row[b + 1] are sample b's. Returns A G_b C^T, [a, c], of each sample; records what gradient
/// mode asks for.
std::vector<at::Tensor> two_sided_sketches(const at::Tensor& delta, const at::Tensor& input,
                                           const at::Tensor& left, const at::Tensor& right,
                                           std::span<const int64_t> first_row);

}  // namespace alluvium::selectors
