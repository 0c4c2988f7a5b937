#include "confidence_fit.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace alluvium::experiments {
namespace {

double share_above(const std::vector<double>& refusing, double limit) {
  const auto above = std::count_if(refusing.begin(), refusing.end(),
                                   [&](double p) { return p == 1 || p > limit; });
  return refusing.empty() ? 0
                          : 100 * static_cast<double>(above) / static_cast<double>(refusing.size());
}

}  // namespace

ConfidenceFit fit_confidence(const std::vector<AskedReading>& readings) {
  std::vector<CalibrationPoint> points;
  // How likely the reader refuses; 1 where it does.
  std::vector<double> answerable;
  std::vector<double> unanswerable;
  for (const AskedReading& reading : readings) {
    (reading.answerable ? answerable : unanswerable)
        .push_back(reading.refused ? 1 : 1 / (1 + std::exp(reading.evidence)));
    if (!reading.refused) {
      points.push_back({{reading.mean_log_probability, reading.evidence}, reading.right});
    }
  }
  ConfidenceFit fit{.confidence = fit_logistic(points)};
  if (!answerable.empty()) {
    std::sort(answerable.begin(), answerable.end(), std::greater<>());
    fit.refuse_above = answerable[static_cast<std::size_t>(kRefusedAnswerable *
                                                           static_cast<double>(answerable.size()))];
  }
  fit.refused_answerable = share_above(answerable, fit.refuse_above);
  fit.refused_unanswerable = share_above(unanswerable, fit.refuse_above);
  return fit;
}

void write_confidence(const ConfidenceFit& fit, std::map<std::string, double>& metrics) {
  metrics["confidence_intercept"] = fit.confidence.intercept;
  metrics["confidence_slope"] = fit.confidence.slopes[0];
  metrics["confidence_evidence"] = fit.confidence.slopes[1];
  metrics["refuse_above"] = fit.refuse_above;
  metrics["refused_answerable"] = fit.refused_answerable;
  metrics["refused_unanswerable"] = fit.refused_unanswerable;
}

}  // namespace alluvium::experiments
