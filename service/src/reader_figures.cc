#include "reader_figures.h"

#include <cmath>

namespace alluvium::service {
namespace {

// For readers that bring no weights of their own: fitted for the first one shipped.
constexpr ChoiceWeights kReaderChoice{.retrieval = 6, .question = 0.6, .evidence = 0.27};

double metric_or(const LoadedReader& reader, const char* name, double otherwise) {
  const auto found = reader.manifest.metrics.find(name);
  return found == reader.manifest.metrics.end() ? otherwise : found->second;
}

}  // namespace

const backbone::Adapter* adapter_of(const LoadedReader* reader) {
  return reader != nullptr ? reader->adapter.get() : nullptr;
}

ChoiceWeights choice_weights(const ChoiceConfiguration& configured, const LoadedReader* reader) {
  ChoiceWeights weights = reader != nullptr ? kReaderChoice : ChoiceWeights{};
  const auto set = [&](double& weight, double value, const char* fitted) {
    if (value >= 0) {
      weight = value;
    } else if (reader != nullptr) {
      weight = metric_or(*reader, fitted, weight);
    }
  };
  set(weights.retrieval, configured.retrieval_weight, "choice_retrieval_weight");
  set(weights.question, configured.question_weight, "choice_question_weight");
  set(weights.evidence, configured.evidence_weight, "choice_evidence_weight");
  return weights;
}

double confidence_of(const LoadedReader* reader, double mean_log_probability, double evidence) {
  if (reader == nullptr || reader->manifest.metrics.count("confidence_slope") == 0) {
    return std::exp(mean_log_probability);
  }
  const double score = metric_or(*reader, "confidence_intercept", 0) +
                       metric_or(*reader, "confidence_slope", 1) * mean_log_probability +
                       metric_or(*reader, "confidence_evidence", 0) * evidence;
  return 1 / (1 + std::exp(-score));
}

}  // namespace alluvium::service
