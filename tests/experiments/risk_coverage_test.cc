#include "risk_coverage.h"

#include "support/catch.h"

namespace alluvium::experiments {

using Catch::Matchers::WithinAbs;

TEST_CASE("risk-coverage: by hand", "[experiments][risk_coverage]") {
  // Risks 0, 0, 1/3, 1/4.
  CHECK_THAT(risk_coverage_area({{0.9, 0}, {0.8, 0}, {0.3, 1}, {0.2, 0}}),
             WithinAbs((1.0 / 3 + 1.0 / 4) / 4, 1e-12));
  // The same answers, the wrong one first: 1, 1/2, 1/3, 1/4.
  CHECK_THAT(risk_coverage_area({{0.1, 0}, {0.2, 0}, {0.9, 1}, {0.3, 0}}),
             WithinAbs((1 + 1.0 / 2 + 1.0 / 3 + 1.0 / 4) / 4, 1e-12));
}

TEST_CASE("risk-coverage: equal confidences count their mean error in any order",
          "[experiments][risk_coverage]") {
  CHECK_THAT(risk_coverage_area({{0.5, 1}, {0.5, 0}}), WithinAbs(0.5, 1e-12));
  CHECK_THAT(risk_coverage_area({{0.5, 0}, {0.5, 1}}), WithinAbs(0.5, 1e-12));
  CHECK(risk_coverage_area({}) == 0);
}

}  // namespace alluvium::experiments
