#include <array>
#include <cmath>
#include <utility>

#include "alluvium/core/random.h"
#include "alluvium/core/sha256.h"
#include "baseline_selectors.h"
#include "dsir_features.h"
#include "state_json.h"
#include "words.h"
#include "workers.h"

namespace alluvium::selectors {

int64_t dsir_bucket(std::string_view gram) {
  const Digest digest = sha256(gram);
  uint64_t remainder = 0;
  for (std::size_t i = 0; i < digest.size(); i += 4) {
    const uint64_t word = uint64_t{digest[i]} << 24 | uint64_t{digest[i + 1]} << 16 |
                          uint64_t{digest[i + 2]} << 8 | uint64_t{digest[i + 3]};
    remainder = (remainder << 32 | word) % static_cast<uint64_t>(kDsirBuckets);
  }
  return static_cast<int64_t>(remainder);
}

int32_t BucketHasher::find(const std::string& gram) {
  constexpr std::size_t kRemembered = std::size_t{1} << 18;
  const auto known = known_.find(gram);
  if (known != known_.end()) {
    return known->second;
  }
  if (known_.size() >= kRemembered) {
    known_.clear();
  }
  const auto bucket = static_cast<int32_t>(dsir_bucket(gram));
  known_.emplace(gram, bucket);
  return bucket;
}

const std::vector<int32_t>& BucketHasher::buckets(std::string_view text, int64_t& tokens) {
  const std::vector<std::string> words = split_words(text, Punctuation::keep);
  tokens = static_cast<int64_t>(words.size());
  buckets_.clear();
  std::string pair;
  for (std::size_t i = 0; i < words.size(); ++i) {
    buckets_.push_back(find(words[i]));
    if (i + 1 < words.size()) {
      pair = words[i];
      pair += ' ';
      pair += words[i + 1];
      buckets_.push_back(find(pair));
    }
  }
  return buckets_;
}

namespace {

constexpr double kFloor = 1e-8;  // added to both probabilities
constexpr int64_t kObservedFeatures = 100'000 * kDsirBuckets;
constexpr uint64_t kStride = 0x9e3779b97f4a7c15U;

class DsirSelector final : public Selector {
 public:
  explicit DsirSelector(const SelectorOptions& options) : options_(options) {
    ALLUVIUM_CHECK(options.dsir_min_tokens >= 0, "dsir_min_tokens must not be negative, got {}",
                   options.dsir_min_tokens);
    ALLUVIUM_CHECK(options.dsir_smoothing >= 0, "dsir_smoothing must not be negative, got {}",
                   options.dsir_smoothing);
    hashers_.resize(static_cast<std::size_t>(options.threads));
  }

  std::string label() const override {
    return options_.dsir_sample ? fmt::format("dsir sampled, seed {}", options_.seed)
                                : "dsir top-k";
  }
  bool observes() const override { return true; }

  void set_targets(std::shared_ptr<const TargetSet> targets) override {
    validate_targets(*targets);
    target_.assign(kDsirBuckets, options_.dsir_smoothing);
    raw_.assign(kDsirBuckets, 0);
    raw_features_ = 0;
    for (const std::string& text : targets->texts) {
      int64_t tokens = 0;
      for (const int32_t bucket : hashers_[0].buckets(text, tokens)) {
        ++target_[static_cast<std::size_t>(bucket)];
      }
    }
    log_ratio_.clear();
  }

  void observe(std::span<const Sample> samples) override {
    for (const Sample& sample : samples) {
      if (raw_features_ > kObservedFeatures) {
        return;
      }
      int64_t tokens = 0;
      const std::vector<int32_t>& buckets = hashers_[0].buckets(sample.text, tokens);
      for (const int32_t bucket : buckets) {
        ++raw_[static_cast<std::size_t>(bucket)];
      }
      raw_features_ += static_cast<int64_t>(buckets.size());
    }
    log_ratio_.clear();
  }

  std::vector<Score> score(std::span<const Sample> samples) override {
    ALLUVIUM_CHECK(!target_.empty(), "dsir has no targets yet");
    prepare();
    std::vector<Score> scores(samples.size());
    run_by_bytes(samples, options_.threads,
                 [&](std::size_t worker, std::size_t begin, std::size_t end) {
                   for (std::size_t i = begin; i < end; ++i) {
                     scores[i] = judge(hashers_[worker], samples[i]);
                   }
                 });
    return scores;
  }

  std::string explain(const Sample& sample, double) override {
    prepare();
    int64_t tokens = 0;
    const double weight = log_weight(hashers_[0], sample.text, tokens);
    return fmt::format("log importance weight {:.3f} over {} tokens", weight, tokens);
  }

  std::string save() const override {
    return pack_state({{"raw", raw_}, {"raw_features", raw_features_}});
  }

  void restore(std::string_view bytes) override {
    unpack_state(bytes, "dsir", [this](const nlohmann::json& state) {
      raw_ = state.at("raw").get<std::vector<double>>();
      raw_features_ = state.at("raw_features").get<int64_t>();
    });
    log_ratio_.clear();
  }

 private:
  static double sum(const std::vector<double>& counts) {
    double total = 0;
    for (const double count : counts) {
      total += count;
    }
    return total > 0 ? total : 1;
  }

  void prepare() {
    if (!log_ratio_.empty()) {
      return;
    }
    const double targets = sum(target_);
    const double raw = sum(raw_);
    for (std::size_t b = 0; b < target_.size(); ++b) {
      log_ratio_.push_back(std::log(target_[b] / targets + kFloor) -
                           std::log(raw_[b] / raw + kFloor));
    }
  }

  double log_weight(BucketHasher& hasher, const std::string& text, int64_t& tokens) const {
    double weight = 0;
    for (const int32_t bucket : hasher.buckets(text, tokens)) {
      weight += log_ratio_[static_cast<std::size_t>(bucket)];
    }
    return weight;
  }

  Score judge(BucketHasher& hasher, const Sample& sample) const {
    int64_t tokens = 0;
    double weight = log_weight(hasher, sample.text, tokens);
    if (tokens < options_.dsir_min_tokens) {
      return {0, Verdict::refuse,
              fmt::format("shorter than dsir_min_tokens {}", options_.dsir_min_tokens)};
    }
    if (options_.dsir_sample) {
      Random random(options_.seed + kStride * (static_cast<uint64_t>(sample.arrival) + 1));
      weight -= std::log(-std::log(1 - random.uniform()));  // Gumbel: 1 - u is never 0
    }
    return {weight, Verdict::rank, {}};
  }

  const SelectorOptions options_;
  std::vector<BucketHasher> hashers_;
  std::vector<double> target_;
  std::vector<double> raw_;
  int64_t raw_features_ = 0;
  std::vector<double> log_ratio_;
};

}  // namespace

std::unique_ptr<Selector> make_dsir(const SelectorOptions& options) {
  return std::make_unique<DsirSelector>(options);
}

}  // namespace alluvium::selectors
