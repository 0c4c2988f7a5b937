#include "risk_coverage.h"

#include <algorithm>
#include <cstddef>

namespace alluvium::experiments {

double risk_coverage_area(std::vector<GradedAnswer> answers) {
  std::stable_sort(answers.begin(), answers.end(),
                   [](const auto& a, const auto& b) { return a.confidence > b.confidence; });
  double area = 0;
  double errors = 0;
  double covered = 0;
  for (std::size_t from = 0; from < answers.size();) {
    std::size_t until = from;
    double tied = 0;
    while (until < answers.size() && answers[until].confidence == answers[from].confidence) {
      tied += answers[until++].error;
    }
    const double mean = tied / static_cast<double>(until - from);
    for (; from < until; ++from) {
      errors += mean;
      covered += 1;
      area += errors / covered;
    }
  }
  return answers.empty() ? 0 : area / static_cast<double>(answers.size());
}

}  // namespace alluvium::experiments
