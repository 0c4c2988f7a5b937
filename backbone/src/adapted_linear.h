// A decoder's linear maps with what adapters add to some of the rows.
//
// Threads: pure functions, which use ATen's intra-operator threads; no result depends on their number.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/adapter.h"
#include "llama_weights.h"

namespace alluvium::backbone {

/// Consecutive rows of a packed batch that one adapter acts on.
struct AdaptedRows {
  const Adapter* adapter;
  int64_t begin;
  int64_t rows;
};

/// x W^T for all rows, x: [T, in], and each run's share by the factors `which` of layer `layer` for its rows. Returns [T, out] in the
/// dtype of x.
at::Tensor adapted_linear(const at::Tensor& x, const LinearWeight& weight,
                          const std::vector<AdaptedRows>& runs, int64_t layer,
                          Adapter::Stacked Adapter::Layer::*which);

}  // namespace alluvium::backbone
