#include "logistic_fit.h"

#include <algorithm>
#include <cmath>

#include "newton_step.h"

namespace alluvium::experiments {
namespace {

constexpr int kSteps = 100;
constexpr double kPull = 1e-3;
constexpr double kEnough = 1e-10;

}  // namespace

LogisticFit fit_logistic(const std::vector<CalibrationPoint>& points) {
  if (points.empty()) {
    return {};
  }
  const auto right = static_cast<double>(
      std::count_if(points.begin(), points.end(), [](const auto& p) { return p.right; }));
  const double wrong = static_cast<double>(points.size()) - right;
  const double high = (right + 1) / (right + 2);
  const double low = 1 / (wrong + 2);
  std::array<double, 3> weights{};  // of 1 and of the scores
  for (int step = 0; step < kSteps; ++step) {
    std::array<double, 3> gradient = {0, -kPull * weights[1], -kPull * weights[2]};
    std::array<std::array<double, 3>, 3> curvature{};
    curvature[1][1] = curvature[2][2] = kPull;
    for (const CalibrationPoint& point : points) {
      const std::array<double, 3> x = {1, point.scores[0], point.scores[1]};
      const double p = 1 / (1 + std::exp(-(weights[0] + weights[1] * x[1] + weights[2] * x[2])));
      const double weight = std::max(p * (1 - p), 1e-9);
      for (std::size_t i = 0; i < 3; ++i) {
        gradient[i] += ((point.right ? high : low) - p) * x[i];
        for (std::size_t j = 0; j < 3; ++j) {
          curvature[i][j] += weight * x[i] * x[j];
        }
      }
    }
    double moved = 0;
    const std::array<double, 3> change = newton_step(curvature, gradient);
    for (std::size_t i = 0; i < 3; ++i) {
      weights[i] += change[i];
      moved += std::abs(change[i]);
    }
    if (moved < kEnough) {
      break;
    }
  }
  return {.intercept = weights[0], .slopes = {weights[1], weights[2]}};
}

}  // namespace alluvium::experiments
