#include "logistic_fit.h"

#include <cmath>

#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium::experiments {

TEST_CASE("logistic fit: finds the curve that the points were drawn from",
          "[experiments][logistic]") {
  Random random(3);
  std::vector<CalibrationPoint> points;
  for (int i = 0; i < 20000; ++i) {
    const double score = -3 * random.uniform();
    const double p = 1 / (1 + std::exp(-(2 + 1.5 * score)));
    points.push_back({score, random.uniform() < p});
  }
  const auto [intercept, slope] = fit_logistic(points);
  CHECK_THAT(intercept, Catch::WithinAbs(2, 0.12));
  CHECK_THAT(slope, Catch::WithinAbs(1.5, 0.1));
}

TEST_CASE("logistic fit: without a spread of scores it gives the share of right ones",
          "[experiments][logistic]") {
  std::vector<CalibrationPoint> points(100, {0.0, true});
  for (int i = 0; i < 25; ++i) {
    points[static_cast<std::size_t>(i)].right = false;
  }
  const auto [intercept, slope] = fit_logistic(points);
  // Platt's targets 76/77 and 1/27 instead of 1 and 0.
  const double share = (75 * 76.0 / 77 + 25 / 27.0) / 100;
  CHECK_THAT(1 / (1 + std::exp(-intercept)), Catch::WithinAbs(share, 1e-6));
  CHECK_THAT(slope, Catch::WithinAbs(0, 1e-9));
}

TEST_CASE("logistic fit: all right is not certainty, and no points change nothing",
          "[experiments][logistic]") {
  const auto [intercept, slope] = fit_logistic({{-0.5, true}, {-0.1, true}});
  CHECK(std::isfinite(intercept));
  CHECK(std::isfinite(slope));
  CHECK(1 / (1 + std::exp(-(intercept - 0.3 * slope))) < 0.95);
  CHECK(fit_logistic({}) == std::pair<double, double>(0, 1));
}

}  // namespace alluvium::experiments
