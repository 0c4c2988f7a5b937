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
    const double other = 4 * random.uniform() - 2;
    const double p = 1 / (1 + std::exp(-(2 + 1.5 * score - 0.7 * other)));
    points.push_back({{score, other}, random.uniform() < p});
  }
  const LogisticFit fit = fit_logistic(points);
  CHECK_THAT(fit.intercept, Catch::WithinAbs(2, 0.12));
  CHECK_THAT(fit.slopes[0], Catch::WithinAbs(1.5, 0.1));
  CHECK_THAT(fit.slopes[1], Catch::WithinAbs(-0.7, 0.06));
}

TEST_CASE("logistic fit: without a spread of scores it gives the share of right ones",
          "[experiments][logistic]") {
  std::vector<CalibrationPoint> points(100, {{0.0, 0.0}, true});
  for (int i = 0; i < 25; ++i) {
    points[static_cast<std::size_t>(i)].right = false;
  }
  const LogisticFit fit = fit_logistic(points);
  // Platt's targets 76/77 and 1/27 instead of 1 and 0.
  const double share = (75 * 76.0 / 77 + 25 / 27.0) / 100;
  CHECK_THAT(1 / (1 + std::exp(-fit.intercept)), Catch::WithinAbs(share, 1e-6));
  CHECK_THAT(fit.slopes[0], Catch::WithinAbs(0, 1e-9));
  CHECK_THAT(fit.slopes[1], Catch::WithinAbs(0, 1e-9));
}

TEST_CASE("logistic fit: all right is not certainty, and no points change nothing",
          "[experiments][logistic]") {
  const LogisticFit fit = fit_logistic({{{-0.5, 0}, true}, {{-0.1, 0}, true}});
  CHECK(std::isfinite(fit.intercept));
  CHECK(std::isfinite(fit.slopes[0]));
  CHECK(1 / (1 + std::exp(-(fit.intercept - 0.3 * fit.slopes[0]))) < 0.95);
  CHECK(fit_logistic({}).slopes[0] == 1);
}

}  // namespace alluvium::experiments
