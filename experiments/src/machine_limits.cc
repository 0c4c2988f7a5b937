#include "machine_limits.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>

#include "alluvium/backbone/parallel.h"
#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"

namespace alluvium::experiments {

double matrix_product_flops(at::ScalarType dtype) {
  constexpr int64_t kRows = 1024;
  constexpr int64_t kOut = 3072;
  constexpr int64_t kIn = 1024;
  const c10::InferenceMode no_gradient;
  const at::Tensor x = at::ones({kRows, kIn}, dtype);
  const at::Tensor weight = at::ones({kOut, kIn}, dtype);
  double best_ms = 1e9;
  for (int call = 0; call < 12; ++call) {
    const Stopwatch watch;
    const at::Tensor y = at::linear(x, weight);
    best_ms = std::min(best_ms, watch.elapsed_ms());
    ALLUVIUM_ASSERT(y.size(1) == kOut);
  }
  return 2.0 * kRows * kOut * kIn / (best_ms / 1e3);
}

double memory_bandwidth(std::size_t bytes) {
  const std::vector<uint64_t> buffer(bytes / sizeof(uint64_t), 3);
  const auto words = static_cast<int64_t>(buffer.size());
  double best_ms = 1e9;
  for (int pass = 0; pass < 6; ++pass) {
    std::atomic<uint64_t> total = 0;
    const Stopwatch watch;
    at::parallel_for(0, words, 1 << 16, [&](int64_t begin, int64_t end) {
      // Four sums, so that additions do not wait for each other.
      uint64_t sums[4] = {0, 0, 0, 0};
      for (int64_t i = begin; i + 4 <= end; i += 4) {
        for (int64_t lane = 0; lane < 4; ++lane) {
          sums[lane] += buffer[i + lane];
        }
      }
      total += sums[0] + sums[1] + sums[2] + sums[3];
    });
    best_ms = std::min(best_ms, watch.elapsed_ms());
    ALLUVIUM_ASSERT(total > 0);
  }
  return static_cast<double>(words) * sizeof(uint64_t) / (best_ms / 1e3);
}

}  // namespace alluvium::experiments
