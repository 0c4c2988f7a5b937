#include <cmath>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/selectors/gradient_scorer.h"
#include "alluvium/selectors/row_matrix.h"
#include "model_selectors.h"

namespace alluvium::selectors {
namespace {

class LessSelector final : public Selector {
 public:
  explicit LessSelector(const SelectorOptions& options) : scorer_(options.gradients) {}

  std::string label() const override { return "less " + scorer_->label(); }

  // The mean cosine to unit vectors is the product with their mean.
  void set_targets(std::shared_ptr<const TargetSet> targets) override {
    validate_targets(*targets);
    std::vector<Sample> samples = targets->samples;
    for (std::size_t i = 0; targets->samples.empty() && i < targets->texts.size(); ++i) {
      samples.push_back({std::to_string(i), targets->texts[i], static_cast<int64_t>(i)});
    }
    std::vector<float> mean(static_cast<std::size_t>(scorer_->dimension()));
    int64_t usable = 0;
    std::string first_reason;
    for (ScoredSample& scored : scorer_->score(samples)) {
      if (!scored.excluded.empty() || normalise_(scored.sketch) == 0) {
        first_reason = first_reason.empty() ? scored.excluded : first_reason;
        continue;
      }
      ++usable;
      for (std::size_t d = 0; d < mean.size(); ++d) {
        mean[d] += scored.sketch[d];
      }
    }
    ALLUVIUM_CHECK(usable > 0, "no target gives a gradient; the first: {}",
                   first_reason.empty() ? "its gradient is zero" : first_reason);
    for (float& value : mean) {
      value /= static_cast<float>(usable);
    }
    mean_ = std::move(mean);
  }

  std::vector<Score> score(std::span<const Sample> samples) override {
    ALLUVIUM_CHECK(!mean_.empty(), "less has no targets yet");
    std::vector<Score> scores;
    for (ScoredSample& scored : scorer_->score(samples)) {
      if (scored.excluded.empty() && normalise_(scored.sketch) == 0) {
        scored.excluded = "its gradient is zero";
      }
      if (!scored.excluded.empty()) {
        scores.push_back({0, Verdict::refuse, scored.excluded});
        continue;
      }
      scores.push_back({static_cast<double>(dot(mean_, scored.sketch)), Verdict::rank, {}});
    }
    return scores;
  }

  std::string explain(const Sample&, double score) override {
    return fmt::format("mean cosine to the targets' gradients {:.4f}", score);
  }

 private:
  std::shared_ptr<GradientScorer> scorer_;
  std::vector<float> mean_;
};

}  // namespace

std::unique_ptr<Selector> make_less(const SelectorOptions& options) {
  if (options.gradients == nullptr) {
    throw NotSupported("selector less needs a decoder's gradients");
  }
  return std::make_unique<LessSelector>(options);
}

}  // namespace alluvium::selectors
