#include "zip_fit_selector.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "alluvium/core/error.h"
#include "deflate_sizer.h"
#include "pair_sizer.h"
#include "reference_vectors.h"
#include "text_pieces.h"
#include "workers.h"

namespace alluvium::selectors {
namespace {

constexpr int64_t kMinBytes = 200;
// On shorter pieces LZ4 finds too few matches to tell who is worth the exact size: with 88 bytes the prefilter lost a third of the best 1 %.
constexpr int64_t kShortestMedianChunk = 256;

enum class Mode { ref, cond, pool, two_stage };

Mode parse_mode(const std::string& mode) {
  if (mode == "ref") {
    return Mode::ref;
  }
  if (mode == "cond") {
    return Mode::cond;
  }
  if (mode == "pool") {
    return Mode::pool;
  }
  ALLUVIUM_CHECK(mode == "two_stage", "mode must be ref, cond, pool or two_stage, got '{}'", mode);
  return Mode::two_stage;
}

double similarity(int64_t joint, int64_t source, int64_t target) {
  return 1.0 - static_cast<double>(joint - std::min(source, target)) /
                   static_cast<double>(std::max(source, target));
}

// Scores pieces of text against the targets. One worker's.
class Aligner {
 public:
  virtual ~Aligner() = default;

  /// 1 - NCD of `text` and each target; the mean is the score.
  virtual std::span<const double> align(std::string_view text) = 0;
};

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  return sum / static_cast<double>(values.size());
}

class JointAligner final : public Aligner {
 public:
  JointAligner(std::unique_ptr<PairSizer> sizer, const std::vector<std::string>& targets)
      : sizer_(std::move(sizer)), joint_(targets.size()), similarities_(targets.size()) {
    for (const std::string& target : targets) {
      target_sizes_.push_back(sizer_->size(target));
    }
  }

  std::span<const double> align(std::string_view text) override {
    const int64_t size = sizer_->size(text);
    sizer_->joint_sizes(text, joint_);
    for (std::size_t j = 0; j < joint_.size(); ++j) {
      similarities_[j] = similarity(joint_[j], size, target_sizes_[j]);
    }
    return similarities_;
  }

 private:
  std::unique_ptr<PairSizer> sizer_;
  std::vector<int64_t> target_sizes_;
  std::vector<int64_t> joint_;
  std::vector<double> similarities_;
};

class ConditionalAligner final : public Aligner {
 public:
  ConditionalAligner(std::unique_ptr<DeflateSizer> sizer, const std::vector<std::string>& targets)
      : sizer_(std::move(sizer)), conditional_(targets.size()), similarities_(targets.size()) {
    for (const std::string& target : targets) {
      target_sizes_.push_back(sizer_->size(target));
    }
  }

  std::span<const double> align(std::string_view text) override {
    const int64_t size = sizer_->size(text);
    sizer_->conditional_sizes(text, conditional_);
    for (std::size_t j = 0; j < conditional_.size(); ++j) {
      similarities_[j] = similarity(target_sizes_[j] + conditional_[j], size, target_sizes_[j]);
    }
    return similarities_;
  }

 private:
  std::unique_ptr<DeflateSizer> sizer_;
  std::vector<int64_t> target_sizes_;
  std::vector<int64_t> conditional_;
  std::vector<double> similarities_;
};

class PooledAligner final : public Aligner {
 public:
  explicit PooledAligner(std::unique_ptr<PooledSizer> sizer) : sizer_(std::move(sizer)) {}

  std::span<const double> align(std::string_view text) override {
    gain_ = 1.0 - static_cast<double>(sizer_->pooled_size(text)) /
                      static_cast<double>(sizer_->raw_size(text));
    return {&gain_, 1};
  }

 private:
  std::unique_ptr<PooledSizer> sizer_;
  double gain_ = 0;
};

class ZipFitSelector final : public Selector {
 public:
  explicit ZipFitSelector(const SelectorOptions& options)
      : options_(options), mode_(parse_mode(options.mode)) {
    const std::string& compressor = options.compressor;
    ALLUVIUM_CHECK(options.threads >= 1, "threads must be at least 1, got {}", options.threads);
    ALLUVIUM_CHECK(compressor == "gzip" || compressor == "lz4" || compressor == "zstd",
                   "compressor must be gzip, lz4 or zstd, got '{}'", compressor);
    ALLUVIUM_CHECK(
        mode_ == Mode::ref || compressor == "gzip" || (mode_ == Mode::pool && compressor == "lz4"),
        "compressor of mode {} must be gzip{}, got '{}'", options.mode,
        mode_ == Mode::pool ? " or lz4" : "", compressor);
    if (compressor == "gzip") {
      ALLUVIUM_CHECK(options.level >= 1 && options.level <= 9,
                     "level of gzip must be in [1, 9], got {} (0 stores and ranks by length)",
                     options.level);
    } else if (compressor == "zstd") {
      ALLUVIUM_CHECK(options.level >= 1 && options.level <= 22,
                     "level of zstd must be in [1, 22], got {}", options.level);
    }
    ALLUVIUM_CHECK(options.survivors >= 1, "survivors must be at least 1, got {}",
                   options.survivors);
    ALLUVIUM_CHECK(options.length.chunk_bytes >= -1, "chunk_bytes must be at least -1, got {}",
                   options.length.chunk_bytes);
    ALLUVIUM_CHECK(options.length.min_bytes >= -1, "min_bytes must be at least -1, got {}",
                   options.length.min_bytes);
  }

  std::string label() const override { return zip_fit_label(options_, zlib_is_reference()); }

  void set_targets(std::shared_ptr<const TargetSet> targets) override {
    validate_targets(*targets);
    targets_ = std::move(targets);
    const int64_t median = median_bytes(targets_->texts);
    const LengthOptions& length = options_.length;
    min_bytes_ = length.min_bytes >= 0 ? length.min_bytes : std::min(kMinBytes, median / 4);
    chunk_bytes_ =
        length.chunk_bytes >= 0 ? length.chunk_bytes : std::max(kShortestMedianChunk, median);
    first_.clear();
    final_.clear();
    for (int64_t worker = 0; worker < options_.threads; ++worker) {
      final_.push_back(make_aligner());
      if (mode_ == Mode::two_stage) {
        const Texts texts(targets_, &targets_->texts);
        first_.push_back(std::make_unique<JointAligner>(make_lz4_sizer(texts), targets_->texts));
      }
    }
  }

  std::vector<Score> score(std::span<const Sample> samples) override {
    return run(mode_ == Mode::two_stage ? first_ : final_, samples);
  }

  int64_t survivors_per_pick() const override {
    return mode_ == Mode::two_stage ? options_.survivors : 1;
  }

  std::vector<Score> refine(std::span<const Sample> samples) override {
    return run(final_, samples);
  }

  std::string explain(const Sample& sample, double score) override {
    ALLUVIUM_ASSERT(targets_ != nullptr);
    if (mode_ == Mode::pool) {
      return fmt::format("the targets explain {:.1f} % of its compressed bytes", 100 * score);
    }
    double best = -1e9;
    std::size_t nearest = 0;
    for (const std::string_view piece : cut_evenly(sample.text, chunk_bytes_)) {
      const std::span<const double> similarities = final_[0]->align(piece);
      for (std::size_t j = 0; j < similarities.size(); ++j) {
        if (similarities[j] > best) {
          best = similarities[j];
          nearest = j;
        }
      }
    }
    return fmt::format("aligns {:.4f} with {} targets, most with target {} ({:.4f})", score,
                       targets_->texts.size(), nearest + 1, best);
  }

 private:
  using Aligners = std::vector<std::unique_ptr<Aligner>>;

  std::unique_ptr<Aligner> make_aligner() const {
    const Texts texts(targets_, &targets_->texts);
    switch (mode_) {
      case Mode::cond:
        return std::make_unique<ConditionalAligner>(make_gzip(texts), targets_->texts);
      case Mode::pool:
        return options_.compressor == "lz4"
                   ? std::make_unique<PooledAligner>(make_lz4_pool_sizer(texts))
                   : std::make_unique<PooledAligner>(make_gzip(texts));
      case Mode::ref:
      case Mode::two_stage:
        break;
    }
    std::unique_ptr<PairSizer> sizer;
    if (options_.compressor == "lz4") {
      sizer = make_lz4_sizer(texts);
    } else if (options_.compressor == "zstd") {
      sizer = make_zstd_sizer(texts, options_.level);
    } else {
      sizer = make_gzip(texts);
    }
    return std::make_unique<JointAligner>(std::move(sizer), targets_->texts);
  }

  std::unique_ptr<DeflateSizer> make_gzip(const Texts& texts) const {
    return options_.size_only ? make_deflate_sizer(texts, options_.level)
                              : make_zlib_sizer(texts, options_.level);
  }

  std::vector<Score> run(const Aligners& aligners, std::span<const Sample> samples) const {
    ALLUVIUM_CHECK(targets_ != nullptr, "zip_fit has no targets yet");
    std::vector<Score> scores(samples.size());
    run_by_bytes(samples, options_.threads,
                 [&](std::size_t worker, std::size_t begin, std::size_t end) {
                   for (std::size_t i = begin; i < end; ++i) {
                     scores[i] = judge(*aligners[worker], samples[i].text);
                   }
                 });
    return scores;
  }

  Score judge(Aligner& aligner, const std::string& text) const {
    if (text.empty() || static_cast<int64_t>(text.size()) < min_bytes_) {
      return {0, Verdict::refuse, fmt::format("shorter than min_bytes {}", min_bytes_)};
    }
    Score score;
    const auto pieces = cut_evenly(text, chunk_bytes_);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const double value = mean_of(aligner.align(pieces[i]));
      if (options_.length.join == LengthOptions::Join::mean) {
        score.value += value / static_cast<double>(pieces.size());
      } else {
        score.value = i == 0 ? value : std::max(score.value, value);
      }
    }
    return score;
  }

  const SelectorOptions options_;
  const Mode mode_;
  std::shared_ptr<const TargetSet> targets_;
  int64_t min_bytes_ = 0;
  int64_t chunk_bytes_ = 0;
  // One a worker; prepared when targets are set.
  Aligners first_;
  Aligners final_;
};

}  // namespace

std::unique_ptr<Selector> make_zip_fit(const SelectorOptions& options) {
  return std::make_unique<ZipFitSelector>(options);
}

std::string zip_fit_label(const SelectorOptions& options, bool is_reference) {
  std::string label = fmt::format("zip_fit/{} {}", options.mode, options.compressor);
  if (options.compressor != "lz4") {
    label += fmt::format("-{}", options.level);
  }
  if (options.compressor == "gzip" && !is_reference) {
    label += " (non-reference zlib)";
  }
  return label;
}

}  // namespace alluvium::selectors
