#include "logistic_fit.h"

#include <algorithm>
#include <cmath>

namespace alluvium::experiments {
namespace {

constexpr int kSteps = 100;
constexpr double kPull = 1e-3;
constexpr double kEnough = 1e-10;

}  // namespace

std::pair<double, double> fit_logistic(const std::vector<CalibrationPoint>& points) {
  if (points.empty()) {
    return {0, 1};
  }
  const auto right = static_cast<double>(
      std::count_if(points.begin(), points.end(), [](const auto& p) { return p.right; }));
  const double wrong = static_cast<double>(points.size()) - right;
  const double high = (right + 1) / (right + 2);
  const double low = 1 / (wrong + 2);
  double a = 0;
  double b = 0;
  for (int step = 0; step < kSteps; ++step) {
    double ga = 0;
    double gb = -kPull * b;
    double haa = 0;
    double hab = 0;
    double hbb = kPull;
    for (const CalibrationPoint& point : points) {
      const double p = 1 / (1 + std::exp(-(a + b * point.score)));
      const double error = (point.right ? high : low) - p;
      const double weight = std::max(p * (1 - p), 1e-9);
      ga += error;
      gb += error * point.score;
      haa += weight;
      hab += weight * point.score;
      hbb += weight * point.score * point.score;
    }
    const double determinant = haa * hbb - hab * hab;
    const double da = (hbb * ga - hab * gb) / determinant;
    const double db = (haa * gb - hab * ga) / determinant;
    a += da;
    b += db;
    if (std::abs(da) + std::abs(db) < kEnough) {
      break;
    }
  }
  return {a, b};
}

}  // namespace alluvium::experiments
