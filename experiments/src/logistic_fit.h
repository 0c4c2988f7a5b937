// Logistic regression on two numbers.
//
// Source : Platt, "Probabilistic outputs for support vector machines", 1999: targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2) in place of 1
//          and 0, so that few points do not give certainty.
// Threads: pure functions.
#pragma once

#include <array>
#include <vector>

namespace alluvium::experiments {

struct CalibrationPoint {
  std::array<double, 2> scores{};
  bool right = false;
};

/// P(right) = 1 / (1 + exp(-(intercept + slopes . scores))).
struct LogisticFit {
  double intercept = 0;
  std::array<double, 2> slopes = {1, 0};
};

/// By Newton steps on the likelihood with a weak pull of the slopes to 0. As it stands for no points.
LogisticFit fit_logistic(const std::vector<CalibrationPoint>& points);

}  // namespace alluvium::experiments
