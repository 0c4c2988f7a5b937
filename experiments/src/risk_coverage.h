// How well confidence tells right answers from wrong ones.
//
// Source : area under the risk-coverage curve: Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.
// Threads: pure functions.
#pragma once

#include <vector>

namespace alluvium::experiments {

struct GradedAnswer {
  double confidence = 0;
  double error = 0;  ///< 0 = right, 1 = wrong
};

/// Mean over all coverages k / n of the mean error of the k most confident answers, in [0, 1]; among equal confidences every answer counts
/// their mean error. 0 for no answers.
double risk_coverage_area(std::vector<GradedAnswer> answers);

}  // namespace alluvium::experiments
