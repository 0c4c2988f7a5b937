// What a reader's probabilities are worth, from questions asked with their document and without it.
//
// Source : Platt scaling (logistic_fit.h), here on two figures; the refusal's threshold as in SQuAD 2.0 (service/refusal.h).
// Threads: pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "logistic_fit.h"

namespace alluvium::experiments {

/// Share of the answerable questions that a calibrated reader may refuse.
constexpr double kRefusedAnswerable = 0.1;

/// A question asked over one document.
struct AskedReading {
  double mean_log_probability = 0;  ///< of the answer's tokens
  double evidence = 0;              ///< log-odds against a refusal
  bool answerable = true;           ///< the document was the right one
  bool right = false;               ///< the answer was
  bool refused = false;             ///< in so many words
};

struct ConfidenceFit {
  /// P(right) by mean_log_probability and evidence, of what was not refused
  LogisticFit confidence;
  /// Probability of refusing above which kRefusedAnswerable of the answerable questions are refused, at most
  double refuse_above = 1;
  double refused_answerable = 0;    ///< percent, by words or threshold
  double refused_unanswerable = 0;  ///< percent, likewise
};

/// The threshold stays 1 when no question is answerable.
ConfidenceFit fit_confidence(const std::vector<AskedReading>& readings);

/// Puts the fit where the service looks for it: the metrics of the reader's manifest.
void write_confidence(const ConfidenceFit& fit, std::map<std::string, double>& metrics);

}  // namespace alluvium::experiments
