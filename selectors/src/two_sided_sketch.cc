#include "two_sided_sketch.h"

#include <ATen/ops/matmul.h>

namespace alluvium::selectors {

std::vector<at::Tensor> two_sided_sketches(const at::Tensor& delta, const at::Tensor& input,
                                           const at::Tensor& left, const at::Tensor& right,
                                           std::span<const int64_t> first_row) {
  // All samples' rows at once on each side; only the last product is a sample's own.
  const at::Tensor narrow_delta = at::matmul(delta, left);
  const at::Tensor narrow_input = at::matmul(input, right);
  std::vector<at::Tensor> sketches;
  for (std::size_t b = 0; b + 1 < first_row.size(); ++b) {
    const int64_t rows = first_row[b + 1] - first_row[b];
    sketches.push_back(at::matmul(narrow_delta.narrow(0, first_row[b], rows).t(),
                                  narrow_input.narrow(0, first_row[b], rows)));
  }
  return sketches;
}

}  // namespace alluvium::selectors
