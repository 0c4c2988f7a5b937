#include <deque>
#include <utility>

#include "alluvium/core/error.h"
#include "baseline_selectors.h"
#include "copy_index.h"
#include "state_json.h"
#include "workers.h"

namespace alluvium::selectors {
namespace {

class DedupeSelector final : public Selector {
 public:
  explicit DedupeSelector(const SelectorOptions& options)
      : threads_(options.threads),
        threshold_(options.duplicate_threshold),
        copies_(options.seed, options.dedupe_capacity) {}

  std::string label() const override { return fmt::format("dedupe {}", threshold_); }
  bool needs_targets() const override { return false; }
  void set_targets(std::shared_ptr<const TargetSet>) override {}

  std::vector<Score> score(std::span<const Sample> samples) override {
    std::vector<Fingerprint> prints(samples.size());
    run_by_bytes(samples, threads_, [&](std::size_t, std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        prints[i] = copies_.fingerprint(samples[i].text);
      }
    });
    std::vector<Score> scores;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      scores.push_back(judge(prints[i], samples[i].id));
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
    return pack_state({{"first", copies_.first()}, {"entries", rows}});
  }

  void restore(std::string_view bytes) override {
    unpack_state(bytes, "dedupe", [this](const nlohmann::json& state) {
      std::deque<std::string> ids;
      std::vector<Fingerprint> prints;
      for (const nlohmann::json& row : state.at("entries")) {
        ids.push_back(row.at(0).get<std::string>());
        prints.push_back(fingerprint_from_json(row.at(1), row.at(2)));
      }
      copies_.restore(state.at("first").get<int64_t>(), prints);
      ids_ = std::move(ids);
      forget_ids();
    });
  }

 private:
  Score judge(const Fingerprint& print, const std::string& id) {
    const std::optional<CopyIndex::Earlier> earlier = copies_.find(print);
    if (earlier && earlier->exact) {
      return {0, Verdict::retire, "exact copy of " + name(earlier->number)};
    }
    const double similarity = earlier ? earlier->similarity : 0;
    if (similarity >= threshold_) {
      return {
          1 - similarity, Verdict::retire,
          fmt::format("near copy of {} (similarity {:.2f})", name(earlier->number), similarity)};
    }
    copies_.insert(print);
    ids_.push_back(id);
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
};

}  // namespace

std::unique_ptr<Selector> make_dedupe(const SelectorOptions& options) {
  ALLUVIUM_CHECK(options.duplicate_threshold > 0 && options.duplicate_threshold <= 1,
                 "duplicate_threshold must be in (0, 1], got {}", options.duplicate_threshold);
  ALLUVIUM_CHECK(options.dedupe_capacity >= 1, "dedupe_capacity must be at least 1, got {}",
                 options.dedupe_capacity);
  return std::make_unique<DedupeSelector>(options);
}

}  // namespace alluvium::selectors
