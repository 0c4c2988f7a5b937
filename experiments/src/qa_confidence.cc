#include "qa_confidence.h"

#include <map>
#include <string>
#include <tuple>

#include "risk_coverage.h"

namespace alluvium::experiments {

std::vector<ConfidenceRow> summarise_confidence(const std::vector<QaAnswer>& answers) {
  struct Both {
    ConfidenceRow row;
    std::vector<GradedAnswer> graded;
    double answerable = 0;
    double unanswerable = 0;
  };
  std::map<std::tuple<std::string, std::string, std::string>, Both> all;
  for (const QaAnswer& given : answers) {
    const bool withheld = given.retrieval == "withheld";
    if (!withheld && given.retrieval != "gold") {
      continue;
    }
    Both& both = all[{given.codec, given.preset, given.reader}];
    (withheld ? both.unanswerable : both.answerable) += 1;
    (withheld ? both.row.refused_unanswerable : both.row.refused_answerable) +=
        given.answer.refused ? 1 : 0;
    both.graded.push_back({.confidence = given.answer.refused ? 0 : given.answer.confidence,
                           .error = withheld ? 1 : 1 - given.f1 / 100});
  }
  std::vector<ConfidenceRow> rows;
  for (auto& [key, both] : all) {
    if (both.answerable == 0 || both.unanswerable == 0) {
      continue;
    }
    std::tie(both.row.codec, both.row.preset, both.row.reader) = key;
    both.row.answers = static_cast<int64_t>(both.graded.size());
    both.row.risk_coverage_area = risk_coverage_area(both.graded);
    both.row.refused_answerable *= 100 / both.answerable;
    both.row.refused_unanswerable *= 100 / both.unanswerable;
    rows.push_back(both.row);
  }
  return rows;
}

}  // namespace alluvium::experiments
