#include <deque>
#include <utility>

#include "alluvium/core/error.h"
#include "baseline_selectors.h"
#include "copy_index.h"
#include "recent_rows.h"
#include "state_json.h"

namespace alluvium::selectors {
namespace {

class DedupeSelector final : public Selector {
 public:
  explicit DedupeSelector(const SelectorOptions& options)
      : threads_(options.threads),
        threshold_(options.duplicate_threshold),
        copies_(options.seed, options.dedupe_capacity),
        alike_(options.dedupe_semantic),
        embedder_(alike_ > 0 ? options.embedder : nullptr),
        rows_(options.dedupe_capacity) {}

  std::string label() const override {
    return fmt::format("dedupe {}", threshold_) +
           (embedder_ ? fmt::format(", embeddings above {}", alike_) : "");
  }
  bool needs_targets() const override { return false; }
  void set_targets(std::shared_ptr<const TargetSet>) override {}

  std::vector<Score> score(std::span<const Sample> samples) override {
    const std::vector<Fingerprint> prints = copies_.fingerprints(samples, threads_);
    std::vector<std::vector<float>> vectors = embed_unknown(samples, prints);
    std::vector<Score> scores;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      scores.push_back(judge(prints[i], vectors[i], samples[i]));
    }
    return scores;
  }

  std::string explain(const Sample&, double score) override {
    return fmt::format("highest similarity to an earlier text {:.2f}", 1 - score);
  }

  std::string save() const override {
    nlohmann::json rows = nlohmann::json::array();
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      nlohmann::json row = fingerprint_to_json(copies_.prints()[i]);
      row.insert(row.begin(), ids_[i]);
      rows.push_back(std::move(row));
    }
    nlohmann::json state = {{"first", copies_.first()}, {"entries", rows}};
    if (embedder_) {
      state["embeddings"] = rows_to_json(rows_.rows());
    }
    return pack_state(state);
  }

  void restore(std::string_view bytes) override {
    unpack_state(bytes, "dedupe", [this](const nlohmann::json& state) {
      std::deque<std::string> ids;
      std::vector<Fingerprint> prints;
      for (const nlohmann::json& row : state.at("entries")) {
        ids.push_back(row.at(0).get<std::string>());
        prints.push_back(fingerprint_from_json(row.at(1), row.at(2)));
      }
      const auto first = state.at("first").get<int64_t>();
      if (embedder_) {
        const RowMatrix rows = rows_from_json(state.at("embeddings"));
        if (rows.rows() != std::ssize(ids)) {
          throw DataCorruption(fmt::format("state of selector dedupe: {} texts and {} embeddings",
                                           ids.size(), rows.rows()));
        }
        rows_.restore(rows);
      }
      copies_.restore(first, prints);
      ids_ = std::move(ids);
      forget_ids();
    });
  }

 private:
  bool is_copy(const std::optional<CopyIndex::Earlier>& earlier) const {
    return earlier && earlier->is_copy(threshold_);
  }

  // In one call, of all texts but those whose words tell already that they are copies. Empty where there is none.
  std::vector<std::vector<float>> embed_unknown(std::span<const Sample> samples,
                                                const std::vector<Fingerprint>& prints) const {
    std::vector<std::vector<float>> vectors(samples.size());
    if (!embedder_) {
      return vectors;
    }
    std::vector<std::string> texts;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (!is_copy(copies_.find(prints[i]))) {
        texts.push_back(samples[i].text);
        places.push_back(i);
      }
    }
    if (texts.empty()) {
      return vectors;
    }
    std::vector<std::vector<float>> embedded = embedder_->embed(texts);
    for (std::size_t t = 0; t < places.size(); ++t) {
      vectors[places[t]] = std::move(embedded[t]);
    }
    return vectors;
  }

  Score judge(const Fingerprint& print, std::vector<float>& vector, const Sample& sample) {
    const std::optional<CopyIndex::Earlier> earlier = copies_.find(print);
    const double similarity = earlier ? earlier->similarity : 0;
    if (is_copy(earlier)) {
      return {1 - similarity, Verdict::retire,
              earlier->exact ? "exact copy of " + name(earlier->number)
                             : fmt::format("near copy of {} (similarity {:.2f})",
                                           name(earlier->number), similarity)};
    }
    if (embedder_) {
      if (vector.empty()) {  // what it was a copy of has been forgotten since
        vector = embedder_->embed({&sample.text, 1}).front();
      }
      normalise_(vector);
      if (const auto near = rows_.nearest_above(vector, static_cast<float>(alike_))) {
        return {1 - static_cast<double>(near->cosine), Verdict::retire,
                fmt::format("means what {} does (cosine {:.4f})",
                            ids_[static_cast<std::size_t>(near->place)], near->cosine)};
      }
      rows_.append(vector);
    }
    copies_.insert(print);
    ids_.push_back(sample.id);
    forget_ids();
    return {1 - similarity, Verdict::rank, {}};
  }

  const std::string& name(int64_t number) const {
    return ids_[static_cast<std::size_t>(number - copies_.first())];
  }

  void forget_ids() {
    while (std::ssize(ids_) > copies_.size()) {
      ids_.pop_front();
    }
  }

  int64_t threads_;
  double threshold_;
  CopyIndex copies_;
  std::deque<std::string> ids_;  // of its texts
  double alike_;
  std::shared_ptr<const TextEmbedder> embedder_;  // null: embeddings are not asked for
  RecentRows rows_;                               // of the same texts
};

}  // namespace

std::unique_ptr<Selector> make_dedupe(const SelectorOptions& options) {
  ALLUVIUM_CHECK(options.duplicate_threshold > 0 && options.duplicate_threshold <= 1,
                 "duplicate_threshold must be in (0, 1], got {}", options.duplicate_threshold);
  ALLUVIUM_CHECK(options.dedupe_capacity >= 1, "dedupe_capacity must be at least 1, got {}",
                 options.dedupe_capacity);
  ALLUVIUM_CHECK(options.dedupe_semantic >= 0 && options.dedupe_semantic <= 1,
                 "dedupe_semantic must be in (0, 1], or 0 for none, got {}",
                 options.dedupe_semantic);
  if (options.dedupe_semantic > 0 && options.embedder == nullptr) {
    throw NotSupported("dedupe_semantic needs an encoder");
  }
  return std::make_unique<DedupeSelector>(options);
}

}  // namespace alluvium::selectors
