// Logistic regression on one number.
//
// Source : Platt, "Probabilistic outputs for support vector machines", 1999: targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2) in place of 1
//          and 0, so that few points do not give certainty.
// Threads: pure functions.
#pragma once

#include <utility>
#include <vector>

namespace alluvium::experiments {

struct CalibrationPoint {
  double score = 0;
  bool right = false;
};

/// Intercept and slope of P(right) = 1 / (1 + exp(-(intercept + slope * score))), by Newton steps on the likelihood with a weak pull of
/// the slope to 0. (0, 1) for no points.
std::pair<double, double> fit_logistic(const std::vector<CalibrationPoint>& points);

}  // namespace alluvium::experiments
