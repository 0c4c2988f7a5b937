#include "confidence_fit.h"

#include <cmath>

#include "support/catch.h"

namespace alluvium::experiments {
namespace {

// A hundred answerable questions with probabilities of refusing 0.00, 0.01 … 0.99, then as many unanswerable ones with 0.50 … 0.995.
std::vector<AskedReading> readings() {
  std::vector<AskedReading> all;
  for (int i = 0; i < 100; ++i) {
    const double p = std::max(1e-6, i / 100.0);
    all.push_back({.mean_log_probability = -0.1,
                   .evidence = std::log((1 - p) / p),
                   .answerable = true,
                   .right = i < 90});
  }
  for (int i = 0; i < 100; ++i) {
    const double p = 0.5 + i / 200.0;
    all.push_back({.mean_log_probability = -2,
                   .evidence = std::log((1 - p) / p),
                   .answerable = false,
                   .right = false});
  }
  return all;
}

}  // namespace

TEST_CASE("confidence fit: the threshold refuses the allowed share of the answerable questions",
          "[experiments][confidence_fit]") {
  const ConfidenceFit fit = fit_confidence(readings());
  CHECK_THAT(fit.refuse_above, Catch::WithinAbs(0.89, 1e-9));
  CHECK_THAT(fit.refused_answerable, Catch::WithinAbs(10, 1e-9));
  CHECK_THAT(fit.refused_unanswerable, Catch::WithinAbs(21, 1e-9));  // 0.895 … 0.995
  CHECK(fit.confidence.slopes[0] > 0);
}

TEST_CASE("confidence fit: what is refused in so many words counts, and leaves the fit of the rest",
          "[experiments][confidence_fit]") {
  std::vector<AskedReading> all = readings();
  for (int i = 0; i < 11; ++i) {
    all[static_cast<std::size_t>(i)].refused = true;
  }
  const ConfidenceFit fit = fit_confidence(all);
  // More than the allowed share already.
  CHECK(fit.refuse_above == 1);
  CHECK_THAT(fit.refused_answerable, Catch::WithinAbs(11, 1e-9));
  CHECK(fit.refused_unanswerable == 0);
}

TEST_CASE("confidence fit: nothing asked changes nothing", "[experiments][confidence_fit]") {
  const ConfidenceFit fit = fit_confidence({});
  CHECK(fit.refuse_above == 1);
  CHECK(fit.confidence.slopes[0] == 1);
  std::map<std::string, double> metrics;
  write_confidence(fit, metrics);
  CHECK(metrics.at("confidence_slope") == 1);
  CHECK(metrics.at("confidence_evidence") == 0);
  CHECK(metrics.at("refuse_above") == 1);
}

}  // namespace alluvium::experiments
