// The factors of several projections as those of the one matrix their weights are stacked into.
//
// Threads: pure functions.
#pragma once

#include <initializer_list>
#include <vector>

#include "alluvium/backbone/adapter.h"
#include "alluvium/backbone/decoder.h"

namespace alluvium::backbone {

/// y += (x a^T) b^T over all parts at once. Undefined when no part has factors.
struct StackedFactors {
  at::Tensor a;  ///< [r, in]
  at::Tensor b;  ///< [out, r], zero where a part's rank meets another part's rows

  bool defined() const { return a.defined(); }
};

/// Stacks `parts` of one layer in their order, in `dtype` on `device`; records gradients of the
/// factors when gradients are on.
StackedFactors stack_factors(const LayerFactors& layer, std::initializer_list<Projection> parts,
                             const DecoderGeometry& geometry, const at::TensorOptions& options);

/// Whether add_adapted_row() takes these factors: float32 or bfloat16 on the CPU, not in blocks.
bool multiplies_rows(const Adapter::Stacked& factors);

/// y += B (A x) of one row, sums in float32, for factors that multiplies_rows() takes; x: [in], y: [out]; `low` is scratch.
void add_adapted_row(const Adapter::Stacked& factors, const float* x, float* y,
                     std::vector<float>& low);

/// Throws InvalidArgument when layers, shapes or ranks do not fit the geometry, or a number is not
/// finite.
void check_adapter(const AdapterState& state, const DecoderGeometry& geometry);

}  // namespace alluvium::backbone
