#include "adapted_linear.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include "adapter_stack.h"
#include "alluvium/backbone/parallel.h"
#include "block_matrix.h"
#include "low_rank_blocks.h"
#include "row_kernels.h"

namespace alluvium::backbone {
namespace {

// Rows whose sums a thread holds in float32 at once: some 200 KB.
constexpr int64_t kRowsAtOnce = 12;

// y += B (A x) for a question's few rows, which a library's product would spend more time on setting
// up than on doing.
template <class T>
void add_few_rows(const Adapter::Stacked& factors, const at::Tensor& x, const at::Tensor& y) {
  const TypedRowKernels<T>& kernels = row_kernels().of<T>();
  const int64_t in = x.size(1);
  const int64_t out = y.size(1);
  const auto* from = static_cast<const T*>(x.const_data_ptr());
  auto* to = static_cast<T*>(y.mutable_data_ptr());
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> rows;
    thread_local std::vector<float> low;
    thread_local std::vector<float> sums;
    const int64_t most = std::min(kRowsAtOnce, end - begin);
    rows.resize(std::max(rows.size(), static_cast<std::size_t>(most * in)));
    sums.resize(std::max(sums.size(), static_cast<std::size_t>(most * out)));
    for (int64_t r = begin; r < end; r += most) {
      const int64_t count = std::min(most, end - r);
      kernels.widen(from + r * in, count * in, rows.data());
      kernels.widen(to + r * out, count * out, sums.data());
      if (factors.blocks) {
        factors.blocks->add_rows(rows.data(), count, out, sums.data());
      }
      for (int64_t i = 0; !factors.blocks && i < count; ++i) {
        add_adapted_row(factors, rows.data() + i * in, sums.data() + i * out, low);
      }
      kernels.narrow(sums.data(), count * out, to + r * out);
    }
  });
}

constexpr int64_t kFewRows = 128;

// The same in the checkpoint's own blocks, a third of the bytes. Fewer rows cost only bytes; more than these cost arithmetic, of which dense
// bfloat16 needs less (docs/performance.md, "Answers").
constexpr int64_t kBlockRows = 20;

bool fits_blocks(const at::Tensor& x, const LinearWeight& weight) {
  return x.size(0) <= kBlockRows && x.is_cpu() && x.scalar_type() == at::kBFloat16 &&
         weight.blocks && BlockMatrix::multiplies_few();
}

at::Tensor block_linear(const at::Tensor& x, const LinearWeight& weight,
                        const std::vector<AdaptedRows>& runs, int64_t layer,
                        Adapter::Stacked Adapter::Layer::*which) {
  const at::Tensor wide = x.to(at::kFloat);
  at::Tensor sums = at::empty({x.size(0), weight.blocks->rows()}, wide.options());
  std::vector<AdaptedBlocks> adapted;
  for (const AdaptedRows& run : runs) {
    if (const auto& factors = (run.adapter->layers()[layer].*which).blocks) {
      adapted.push_back({factors.get(), run.begin, run.rows});
    }
  }
  weight.blocks->multiply_few(wide.const_data_ptr<float>(), x.size(0),
                              sums.mutable_data_ptr<float>(), adapted);
  return sums.to(x.scalar_type());
}

}  // namespace

at::Tensor adapted_linear(const at::Tensor& x, const LinearWeight& weight,
                          const std::vector<AdaptedRows>& runs, int64_t layer,
                          Adapter::Stacked Adapter::Layer::*which) {
  if (fits_blocks(x, weight)) {
    return block_linear(x, weight, runs, layer, which);
  }
  at::Tensor y = at::linear(x, weight.dense);
  for (const AdaptedRows& run : runs) {
    const Adapter::Stacked& factors = run.adapter->layers()[layer].*which;
    if (!factors.a.defined()) {
      continue;
    }
    const at::Tensor rows = x.narrow(0, run.begin, run.rows);
    const at::Tensor sums = y.narrow(0, run.begin, run.rows);
    const bool few = run.rows <= kFewRows && (factors.blocks || multiplies_rows(factors));
    if (few && x.scalar_type() == at::kBFloat16) {
      add_few_rows<Bf16>(factors, rows, sums);
    } else if (few && x.scalar_type() == at::kFloat) {
      add_few_rows<float>(factors, rows, sums);
    } else {
      const at::Tensor wide = rows.to(factors.a.scalar_type());
      sums.add_(at::linear(at::linear(wide, factors.a), factors.b));
    }
  }
  return y;
}

}  // namespace alluvium::backbone
