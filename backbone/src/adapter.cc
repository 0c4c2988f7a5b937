#include "alluvium/backbone/adapter.h"

#include <algorithm>
#include <cmath>

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>

#include "adapter_stack.h"
#include "alluvium/core/error.h"
#include "row_kernels.h"

namespace alluvium::backbone {
namespace {

constexpr std::array<const char*, kProjections> kNames = {
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};

}  // namespace

const char* to_string(Projection projection) {
  return kNames[static_cast<std::size_t>(projection)];
}

Projection parse_projection(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  ALLUVIUM_CHECK(found != kNames.end(), "unknown projection '{}'; known: {}", name,
                 fmt::join(kNames, ", "));
  return kAllProjections[static_cast<std::size_t>(found - kNames.begin())];
}

ProjectionShape shape_of(const DecoderGeometry& geometry, Projection projection) {
  const int64_t d = geometry.d_model;
  const int64_t q_rows = geometry.heads * geometry.head_dim;
  const int64_t kv_rows = geometry.kv_heads * geometry.head_dim;
  switch (projection) {
    case Projection::q:
      return {q_rows, d};
    case Projection::k:
    case Projection::v:
      return {kv_rows, d};
    case Projection::o:
      return {d, q_rows};
    case Projection::gate:
    case Projection::up:
      return {geometry.d_ff, d};
    case Projection::down:
      return {d, geometry.d_ff};
  }
  throw InternalError("a projection outside its enumeration");
}

StackedFactors stack_factors(const LayerFactors& layer, std::initializer_list<Projection> parts,
                             const DecoderGeometry& geometry, const at::TensorOptions& options) {
  int64_t rank = 0;
  for (const Projection part : parts) {
    rank += layer[part].defined() ? layer[part].a.size(0) : 0;
  }
  StackedFactors stacked;
  if (rank == 0) {
    return stacked;
  }
  std::vector<at::Tensor> a;
  std::vector<at::Tensor> b;
  int64_t before = 0;
  for (const Projection part : parts) {
    const LowRankFactors& factors = layer[part];
    if (!factors.defined()) {
      b.push_back(at::zeros({shape_of(geometry, part).out, rank}, options));
      continue;
    }
    const int64_t own = factors.a.size(0);
    a.push_back(factors.a.to(options));
    b.push_back(at::constant_pad_nd(factors.b.to(options), {before, rank - before - own}));
    before += own;
  }
  stacked.a = at::cat(a, 0);
  stacked.b = at::cat(b, 0);
  return stacked;
}

namespace {

template <class T>
void add_row(const Adapter::Stacked& factors, const float* x, float* y, std::vector<float>& low) {
  const TypedRowKernels<T>& kernels = row_kernels().of<T>();
  const int64_t rank = factors.a.size(0);
  const int64_t out = factors.b_transposed.size(1);
  low.resize(rank);
  kernels.product(static_cast<const T*>(factors.a.const_data_ptr()), x, rank, factors.a.size(1),
                  low.data());
  const auto* rows = static_cast<const T*>(factors.b_transposed.const_data_ptr());
  for (int64_t r = 0; r < rank;) {
    const auto [begin, end] = factors.spans[r];
    int64_t next = r + 1;
    while (next < rank && factors.spans[next] == factors.spans[r]) {
      ++next;
    }
    kernels.accumulate(rows + r * out + begin, out, low.data() + r, next - r, end - begin,
                       y + begin);
    r = next;
  }
}

}  // namespace

bool multiplies_rows(const Adapter::Stacked& factors) {
  return factors.b_transposed.defined() && factors.a.is_cpu() &&
         (factors.a.scalar_type() == at::kFloat || factors.a.scalar_type() == at::kBFloat16);
}

void add_adapted_row(const Adapter::Stacked& factors, const float* x, float* y,
                     std::vector<float>& low) {
  if (factors.a.scalar_type() == at::kBFloat16) {
    add_row<Bf16>(factors, x, y, low);
  } else {
    add_row<float>(factors, x, y, low);
  }
}

void check_adapter(const AdapterState& state, const DecoderGeometry& geometry) {
  ALLUVIUM_CHECK(static_cast<int64_t>(state.layers.size()) == geometry.layers,
                 "the adapter has {} layers, the decoder {}", state.layers.size(), geometry.layers);
  ALLUVIUM_CHECK(std::isfinite(state.scale), "the adapter's scale is {}", state.scale);
  for (std::size_t l = 0; l < state.layers.size(); ++l) {
    for (const Projection p : kAllProjections) {
      const LowRankFactors& factors = state.layers[l][p];
      ALLUVIUM_CHECK(factors.a.defined() == factors.b.defined(),
                     "layer {} {}: one of the two factors is missing", l, to_string(p));
      if (!factors.defined()) {
        continue;
      }
      const ProjectionShape shape = shape_of(geometry, p);
      const bool fits = factors.a.dim() == 2 && factors.b.dim() == 2 && factors.a.size(0) >= 1 &&
                        factors.a.size(0) == factors.b.size(1) && factors.a.size(1) == shape.in &&
                        factors.b.size(0) == shape.out;
      ALLUVIUM_CHECK(fits, "layer {} {}: the factors must be [r, {}] and [{}, r], got {} and {}", l,
                     to_string(p), shape.in, shape.out, c10::str(factors.a.sizes()),
                     c10::str(factors.b.sizes()));
      ALLUVIUM_CHECK(
          at::isfinite(factors.a).all().item<bool>() && at::isfinite(factors.b).all().item<bool>(),
          "layer {} {}: a factor is not finite", l, to_string(p));
    }
  }
}

}  // namespace alluvium::backbone
