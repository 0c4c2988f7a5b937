// A small linear system.
//
// Threads: pure functions.
#pragma once

#include <array>
#include <cstddef>

namespace alluvium::experiments {

/// The step d with curvature d = gradient, for a positive definite curvature.
template <std::size_t kSize>
std::array<double, kSize> newton_step(std::array<std::array<double, kSize>, kSize> curvature,
                                      std::array<double, kSize> gradient) {
  for (std::size_t pivot = 0; pivot < kSize; ++pivot) {
    for (std::size_t row = 0; row < kSize; ++row) {
      if (row == pivot) {
        continue;
      }
      const double factor = curvature[row][pivot] / curvature[pivot][pivot];
      for (std::size_t j = 0; j < kSize; ++j) {
        curvature[row][j] -= factor * curvature[pivot][j];
      }
      gradient[row] -= factor * gradient[pivot];
    }
  }
  for (std::size_t i = 0; i < kSize; ++i) {
    gradient[i] /= curvature[i][i];
  }
  return gradient;
}

}  // namespace alluvium::experiments
