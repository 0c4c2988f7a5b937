#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/selectors/adapt_inf.h"
#include "model_selectors.h"
#include "state_json.h"

namespace alluvium::selectors {
namespace {

AdaptInfOptions round_options(const SelectorOptions& options) {
  AdaptInfOptions round;
  round.clusters = options.clusters;
  round.semantic_duplicate = options.semantic_duplicate;
  round.capacity = std::numeric_limits<int64_t>::max();  // a pool on the disk is not shrunk
  round.seed = options.seed;
  return round;
}

class AdaptInfSelector final : public Selector {
 public:
  explicit AdaptInfSelector(const SelectorOptions& options)
      : picks_(options.picks),
        scorer_(options.gradients),
        embedder_(options.embedder),
        adapt_inf_(round_options(options), *scorer_, embedder_.get()) {}

  std::string label() const override { return "adapt_inf " + scorer_->label(); }

  bool needs_targets() const override { return false; }
  void set_targets(std::shared_ptr<const TargetSet>) override {}

  bool observes() const override { return true; }
  bool needs_whole_pool() const override { return true; }

  // A row's place is its name here: ids need not be distinct in a pool.
  void observe(std::span<const Sample> samples) override {
    std::vector<Sample> named(samples.begin(), samples.end());
    for (Sample& sample : named) {
      sample.id = std::to_string(sample.arrival);
    }
    if (!begun_) {
      adapt_inf_.begin_round();
      begun_ = true;
    }
    adapt_inf_.add(named);
    while (adapt_inf_.score_next(std::ssize(named)) > 0) {
    }
  }

  void end_observing() override {
    if (!begun_) {
      return;
    }
    report_ = adapt_inf_.finish_round(picks_);
    for (const Excluded& excluded : report_.excluded) {
      outcomes_[std::stoll(excluded.id)] = {0, Verdict::refuse, excluded.reason};
    }
    for (const Retirement& copy : report_.copies) {
      outcomes_[std::stoll(copy.id)] = {0, Verdict::retire, copy.reason};
    }
    note_picks();
  }

  std::vector<Score> score(std::span<const Sample> samples) override {
    std::vector<Score> scores;
    for (const Sample& sample : samples) {
      const auto outcome = outcomes_.find(sample.arrival);
      scores.push_back(outcome == outcomes_.end() ? Score{} : outcome->second);
    }
    return scores;
  }

  std::string explain(const Sample& sample, double) override {
    const auto found = reasons_.find(sample.arrival);
    return found == reasons_.end() ? "not drawn in its cluster" : found->second;
  }

  std::string save() const override {
    nlohmann::json reasons = nlohmann::json::array();
    for (const auto& [arrival, reason] : reasons_) {
      reasons.push_back({arrival, reason});
    }
    const std::string round = adapt_inf_.save();
    return pack_state({{"begun", begun_},
                       {"outcomes", outcomes_to_json(outcomes_)},
                       {"reasons", reasons},
                       {"round", nlohmann::json::binary({round.begin(), round.end()})}});
  }

  void restore(std::string_view state) override {
    unpack_state(state, label(), [this](const nlohmann::json& saved) {
      std::map<int64_t, Score> outcomes = outcomes_from_json(saved.at("outcomes"));
      std::map<int64_t, std::string> reasons;
      for (const auto& row : saved.at("reasons")) {
        reasons[row.at(0).get<int64_t>()] = row.at(1).get<std::string>();
      }
      const auto& round = saved.at("round").get_binary();
      const bool begun = saved.at("begun").get<bool>();
      adapt_inf_.restore({reinterpret_cast<const char*>(round.data()), round.size()});
      begun_ = begun;
      outcomes_ = std::move(outcomes);
      reasons_ = std::move(reasons);
    });
  }

 private:
  void note_picks() {
    for (const Pick& pick : report_.picks) {
      const int64_t arrival = std::stoll(pick.id);
      outcomes_[arrival] = {1, Verdict::rank, {}};
      const ClusterReport& cluster = report_.clusters[static_cast<std::size_t>(pick.cluster)];
      reasons_[arrival] =
          fmt::format("cluster {} ({} rows, {} picked) by {} = {:.4f}", pick.cluster, cluster.size,
                      cluster.budget, to_string(pick.expert), pick.score);
    }
  }

  int64_t picks_;
  std::shared_ptr<GradientScorer> scorer_;
  std::shared_ptr<const TextEmbedder> embedder_;
  AdaptInf adapt_inf_;
  bool begun_ = false;
  RoundReport report_;
  std::map<int64_t, Score> outcomes_;  // by arrival
  std::map<int64_t, std::string> reasons_;
};

}  // namespace

std::unique_ptr<Selector> make_adapt_inf(const SelectorOptions& options) {
  if (options.gradients == nullptr) {
    throw NotSupported("selector adapt_inf needs a decoder's gradients");
  }
  ALLUVIUM_CHECK(options.picks >= 1,
                 "adapt_inf shares a number of picks out over clusters: --top is needed");
  return std::make_unique<AdaptInfSelector>(options);
}

}  // namespace alluvium::selectors
