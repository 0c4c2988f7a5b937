#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/selectors/ranking.h"
#include "baseline_selectors.h"
#include "state_json.h"
#include "zip_fit_selector.h"

namespace alluvium::selectors {
namespace {

constexpr uint64_t kStride = 0x9e3779b97f4a7c15U;

double draw(uint64_t seed, int64_t arrival) {
  return Random(seed + kStride * (static_cast<uint64_t>(arrival) + 1)).uniform();
}

class RandomSelector final : public Selector {
 public:
  explicit RandomSelector(uint64_t seed) : seed_(seed) {}

  std::string label() const override { return fmt::format("random seed {}", seed_); }
  bool needs_targets() const override { return false; }
  void set_targets(std::shared_ptr<const TargetSet>) override {}

  std::vector<Score> score(std::span<const Sample> samples) override {
    std::vector<Score> scores;
    for (const Sample& sample : samples) {
      scores.push_back({draw(seed_, sample.arrival), Verdict::rank, {}});
    }
    return scores;
  }

  std::string explain(const Sample&, double) override { return "drawn at random"; }

 private:
  uint64_t seed_;
};

// Half a doubling of bytes is one bin.
int length_bin(const std::string& text) {
  return static_cast<int>(2 * std::log2(static_cast<double>(text.size()) + 1));
}

class LengthMatchedRandomSelector final : public Selector {
 public:
  explicit LengthMatchedRandomSelector(const SelectorOptions& options)
      : options_(options), zip_fit_(make_zip_fit(options)) {
    ALLUVIUM_CHECK(options.picks > 0,
                   "length_matched_random needs picks (--top), the size of the selection whose "
                   "lengths it matches; got {}",
                   options.picks);
  }

  std::string label() const override {
    return fmt::format("length_matched_random seed {} ({})", options_.seed, zip_fit_->label());
  }

  void set_targets(std::shared_ptr<const TargetSet> targets) override {
    zip_fit_->set_targets(std::move(targets));
  }

  bool observes() const override { return true; }

  // For every bin the draws that could be picked are kept: the best `picks` of them. How many of them are, the end tells.
  void observe(std::span<const Sample> samples) override {
    const std::vector<Score> scores = zip_fit_->score(samples);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const Sample& sample = samples[i];
      if (scores[i].verdict != Verdict::rank) {
        continue;
      }
      const int64_t candidates = options_.picks * zip_fit_->survivors_per_pick();
      keep(best_, {scores[i].value, sample.arrival, 0, sample.text}, candidates);
      keep(bins_[length_bin(sample.text)],
           {draw(options_.seed, sample.arrival), sample.arrival, 0, {}}, options_.picks);
    }
  }

  void end_observing() override {
    std::vector<Sample> survivors;
    for (const Candidate& candidate : best_) {
      survivors.push_back({{}, candidate.line, candidate.arrival});
    }
    const std::vector<Score> scores = zip_fit_->refine(survivors);
    std::vector<Candidate> ranked;
    for (std::size_t i = 0; i < survivors.size(); ++i) {
      ranked.push_back({scores[i].value, survivors[i].arrival, 0, survivors[i].text});
    }
    std::sort(ranked.begin(), ranked.end(), ranks_before);
    ranked.resize(std::min(ranked.size(), static_cast<std::size_t>(options_.picks)));
    std::map<int, int64_t> wanted;
    for (const Candidate& pick : ranked) {
      ++wanted[length_bin(pick.line)];
    }
    lowest_.clear();
    for (const auto& [bin, count] : wanted) {
      const std::vector<Candidate>& draws = bins_[bin];
      lowest_[bin] = draws[static_cast<std::size_t>(count) - 1].score;
    }
  }

  std::vector<Score> score(std::span<const Sample> samples) override {
    std::vector<Score> scores;
    for (const Sample& sample : samples) {
      const auto lowest = lowest_.find(length_bin(sample.text));
      const double value = draw(options_.seed, sample.arrival);
      if (lowest == lowest_.end() || value < lowest->second) {
        scores.push_back({0, Verdict::refuse, "not drawn for its length"});
      } else {
        scores.push_back({value, Verdict::rank, {}});
      }
    }
    return scores;
  }

  std::string explain(const Sample& sample, double) override {
    return fmt::format("drawn at random among texts of about {} bytes", sample.text.size());
  }

  std::string save() const override {
    nlohmann::json state = {{"best", to_json(best_)}, {"lowest", lowest_}};
    for (const auto& [bin, draws] : bins_) {
      state["bins"][std::to_string(bin)] = to_json(draws);
    }
    return pack_state(state);
  }

  void restore(std::string_view bytes) override {
    unpack_state(bytes, "length_matched_random", [this](const nlohmann::json& state) {
      best_ = from_json(state.at("best"));
      lowest_ = state.at("lowest").get<std::map<int, double>>();
      bins_.clear();
      if (state.contains("bins")) {
        for (const auto& [bin, draws] : state.at("bins").items()) {
          bins_[std::stoi(bin)] = from_json(draws);
        }
      }
    });
  }

 private:
  // `list` is sorted, best first.
  static void keep(std::vector<Candidate>& list, Candidate candidate, int64_t most) {
    const auto full = static_cast<int64_t>(list.size()) >= most;
    if (full && !ranks_before(candidate, list.back())) {
      return;
    }
    if (full) {
      list.pop_back();
    }
    list.insert(std::upper_bound(list.begin(), list.end(), candidate, ranks_before),
                std::move(candidate));
  }

  static nlohmann::json to_json(const std::vector<Candidate>& list) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Candidate& candidate : list) {
      rows.push_back({candidate.score, candidate.arrival, candidate.line});
    }
    return rows;
  }

  static std::vector<Candidate> from_json(const nlohmann::json& rows) {
    std::vector<Candidate> list;
    for (const nlohmann::json& row : rows) {
      list.push_back(
          {row.at(0).get<double>(), row.at(1).get<int64_t>(), 0, row.at(2).get<std::string>()});
    }
    return list;
  }

  const SelectorOptions options_;
  std::unique_ptr<Selector> zip_fit_;
  std::vector<Candidate> best_;
  std::map<int, std::vector<Candidate>> bins_;
  std::map<int, double> lowest_;  // the lowest draw picked of each bin
};

}  // namespace

std::unique_ptr<Selector> make_random(const SelectorOptions& options) {
  return std::make_unique<RandomSelector>(options.seed);
}

std::unique_ptr<Selector> make_length_matched_random(const SelectorOptions& options) {
  return std::make_unique<LengthMatchedRandomSelector>(options);
}

}  // namespace alluvium::selectors
