#include <utility>

#include "alluvium/core/error.h"
#include "baseline_selectors.h"

namespace alluvium::selectors {
namespace {

class EmbeddingSelector final : public Selector {
 public:
  explicit EmbeddingSelector(const SelectorOptions& options) : embedder_(options.embedder) {
    if (embedder_ == nullptr) {
      throw NotSupported("selector embedding needs an encoder");
    }
  }

  std::string label() const override { return "embedding cosine"; }

  // The mean cosine to unit vectors is the product with their mean.
  void set_targets(std::shared_ptr<const TargetSet> targets) override {
    validate_targets(*targets);
    mean_.clear();
    for (const std::vector<float>& row : embedder_->embed(targets->texts)) {
      mean_.resize(row.size());
      for (std::size_t d = 0; d < row.size(); ++d) {
        mean_[d] += static_cast<double>(row[d]) / static_cast<double>(targets->texts.size());
      }
    }
  }

  std::vector<Score> score(std::span<const Sample> samples) override {
    ALLUVIUM_CHECK(!mean_.empty(), "embedding has no targets yet");
    std::vector<std::string> texts;
    for (const Sample& sample : samples) {
      texts.push_back(sample.text);
    }
    std::vector<Score> scores;
    for (const std::vector<float>& row : embedder_->embed(texts)) {
      double cosine = 0;
      for (std::size_t d = 0; d < row.size(); ++d) {
        cosine += mean_[d] * static_cast<double>(row[d]);
      }
      scores.push_back({cosine, Verdict::rank, {}});
    }
    return scores;
  }

  std::string explain(const Sample&, double score) override {
    return fmt::format("mean cosine to the targets {:.4f}", score);
  }

 private:
  std::shared_ptr<const TextEmbedder> embedder_;
  std::vector<double> mean_;
};

}  // namespace

std::unique_ptr<Selector> make_embedding(const SelectorOptions& options) {
  return std::make_unique<EmbeddingSelector>(options);
}

}  // namespace alluvium::selectors
