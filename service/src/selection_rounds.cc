#include "alluvium/service/selection_rounds.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "selection_output.h"
#include "selection_pool.h"

namespace alluvium::service {
namespace {

using nlohmann::json;
using selectors::Sample;

constexpr int64_t kScoredAtOnce = 64;
constexpr std::size_t kShownProblems = 5;

/// A choice that was made and may not have been given out yet.
struct Choice {
  std::string id;
  double score = 0;
  std::string reason;
};

std::string name_of(const Sample& sample, const std::string& line, const std::string& id_field) {
  return json::parse(line).contains(id_field)
             ? sample.id
             : fmt::format("sha-{}", to_hex(sha256(line)).substr(0, 16));
}

class RoundOfLog {
 public:
  RoundOfLog(selectors::AdaptInf& rounds, memory_bank::SampleLog& log,
             const SelectionOptions& options,
             const std::function<void(const SelectionProgress&)>& on_progress)
      : rounds_(rounds), log_(log), options_(options), on_progress_(on_progress) {}

  RoundOfLogReport run() {
    open_outputs();
    load();
    if (!rounds_.in_round() && choices_.empty()) {
      retire(rounds_.prune());
      commit();
    }
    add_pool();
    if (choices_.empty()) {
      play();
    }
    report_.round = rounds_.round();
    report_.pool = rounds_.pool_size();
    give_out();
    return report_;
  }

 private:
  void open_outputs() {
    if (options_.out.empty()) {
      out_.open_standard_output();
    } else {
      out_.open_file(options_.out, 0);
    }
    if (!options_.retired.empty()) {
      retired_.open_file(options_.retired, 0);
    }
    if (!options_.dead_letters.empty()) {
      dead_letters_.open_file(options_.dead_letters, 0);
    }
  }

  void load() {
    std::string head;
    if (const std::string saved = log_.head(); !saved.empty()) {
      try {
        const json object = json::from_cbor(saved.begin(), saved.end());
        const json::binary_t& bytes = object.at("rounds").get_binary();
        head.assign(bytes.begin(), bytes.end());
        for (const json& row : object.at("choices")) {
          choices_.push_back({row.at(0).get<std::string>(), row.at(1).get<double>(),
                              row.at(2).get<std::string>()});
        }
      } catch (const json::exception& error) {
        throw DataCorruption(fmt::format("the sample log's head is damaged: {}", error.what()));
      }
    }
    std::vector<selectors::KeptSample> samples;
    log_.each([&](const memory_bank::LoggedSample& logged) {
      Sample sample = parse_row(logged.content, options_.fields, 0);
      sample.id = logged.id;
      sample.arrival = std::ssize(samples);
      samples.push_back({std::move(sample), logged.state, logged.features});
    });
    rounds_.restore(head, samples);
    arrived_ = std::ssize(samples);
    report_.resumed = rounds_.in_round() || !choices_.empty();
  }

  void add_pool() {
    PoolReader pool(options_.pool == "-" ? streams::open_standard_input()
                                         : streams::open_file_input(options_.pool),
                    options_);
    while (auto batch = pool.next()) {
      for (const PoolBatch::Bad& bad : batch->bad) {
        note_bad(bad);
      }
      for (std::size_t i = 0; i < batch->samples.size(); ++i) {
        add(std::move(batch->samples[i]), std::move(batch->lines[i]));
      }
      commit();
      tell("reading", pool.progress());
    }
  }

  void add(Sample sample, std::string line) {
    ++report_.selection.rows;
    sample.id = name_of(sample, line, options_.fields.id);
    sample.arrival = arrived_;
    if (log_.knows(sample.id) || lines_.contains(sample.id)) {
      ++report_.known;
      return;
    }
    ++arrived_;
    rounds_.add({&sample, 1});
    lines_.emplace(sample.id, std::move(line));
  }

  void play() {
    if (!rounds_.in_round()) {
      rounds_.begin_round();
      commit();
    }
    const auto waiting = static_cast<double>(std::max<int64_t>(rounds_.pending(), 1));
    while (rounds_.pending() > 0) {
      const int64_t left = rounds_.score_next(kScoredAtOnce);
      commit();
      tell("scoring", 1 - static_cast<double>(left) / waiting);
    }
    const selectors::RoundReport round = rounds_.finish_round(options_.top);
    report_.scored = round.scored;
    for (const selectors::Excluded& excluded : round.excluded) {
      ++report_.selection.refused;
      if (report_.selection.first_refusal.empty()) {
        report_.selection.first_refusal = fmt::format("{}: {}", excluded.id, excluded.reason);
      }
    }
    retire(round.copies);
    for (const selectors::Pick& pick : round.picks) {
      const selectors::ClusterReport& cluster =
          round.clusters[static_cast<std::size_t>(pick.cluster)];
      choices_.push_back(
          {pick.id, pick.score,
           fmt::format("cluster {} ({} rows, {} picked) by {} = {:.4f}", pick.cluster, cluster.size,
                       cluster.budget, to_string(pick.expert), pick.score)});
    }
    commit();
  }

  // In training order; only then are they no longer owed.
  void give_out() {
    std::map<std::string, std::string> lines;
    for (const Choice& choice : choices_) {
      lines.emplace(choice.id, "");
    }
    log_.each([&](const memory_bank::LoggedSample& logged) {
      if (const auto found = lines.find(logged.id); found != lines.end()) {
        found->second = logged.content;
      }
    });
    for (const Choice& choice : choices_) {
      ++report_.selection.picked;
      out_.write(annotated(lines.at(choice.id), choice));
    }
    for (SelectionOutput* output : {&out_, &retired_, &dead_letters_}) {
      output->flush(true);
    }
    choices_.clear();
    commit();
  }

  std::string annotated(const std::string& line, const Choice& choice) const {
    if (!options_.annotate && !options_.explain) {
      return line;
    }
    nlohmann::ordered_json object = nlohmann::ordered_json::parse(line);
    object["selection"] = {
        {"selector", "adapt_inf"}, {"round", report_.round}, {"score", choice.score}};
    if (options_.explain) {
      object["selection"]["reason"] = choice.reason;
    }
    return object.dump();
  }

  void retire(const std::vector<selectors::Retirement>& samples) {
    for (const selectors::Retirement& sample : samples) {
      ++report_.selection.retired;
      retired_.write(json{{"id", sample.id}, {"reason", sample.reason}}.dump());
    }
  }

  void note_bad(const PoolBatch::Bad& bad) {
    ++report_.selection.bad;
    if (report_.selection.problems.size() < kShownProblems) {
      report_.selection.problems.push_back({bad.line, bad.reason});
    }
    dead_letters_.write(
        json{{"line", bad.line}, {"reason", bad.reason}, {"content", bad.content}}.dump());
  }

  void commit() {
    selectors::RoundChanges changes = rounds_.take_changes();
    json choices = json::array();
    for (const Choice& choice : choices_) {
      choices.push_back({choice.id, choice.score, choice.reason});
    }
    memory_bank::SampleLogChanges logged;
    json::to_cbor({{"rounds", json::binary({changes.head.begin(), changes.head.end()})},
                   {"choices", choices}},
                  logged.head);
    for (selectors::KeptSample& kept : changes.added) {
      logged.added.push_back({kept.sample.id, std::move(lines_.at(kept.sample.id)),
                              std::move(kept.state), std::move(kept.features)});
    }
    lines_.clear();
    for (auto& [id, state, features] : changes.changed) {
      logged.changed.push_back({id, std::move(state), std::move(features)});
    }
    for (selectors::Retirement& retired : changes.retired) {
      logged.retired.push_back({std::move(retired.id), std::move(retired.reason)});
    }
    log_.commit(logged);
  }

  void tell(const char* phase, std::optional<double> share) const {
    if (on_progress_) {
      on_progress_({phase, report_.selection.rows, 0, share});
    }
  }

  selectors::AdaptInf& rounds_;
  memory_bank::SampleLog& log_;
  const SelectionOptions& options_;
  const std::function<void(const SelectionProgress&)>& on_progress_;
  SelectionOutput out_;
  SelectionOutput retired_;
  SelectionOutput dead_letters_;
  RoundOfLogReport report_;
  std::vector<Choice> choices_;               // made and owed
  std::map<std::string, std::string> lines_;  // of samples added since the last commit
  int64_t arrived_ = 0;
};

}  // namespace

RoundOfLogReport run_round_of_log(
    selectors::AdaptInf& rounds, memory_bank::SampleLog& log, const SelectionOptions& options,
    const std::function<void(const SelectionProgress&)>& on_progress) {
  ALLUVIUM_CHECK(options.top >= 1, "top must be at least 1, got {}", options.top);
  ALLUVIUM_CHECK(options.batch_rows >= 1, "batch_rows must be at least 1, got {}",
                 options.batch_rows);
  return RoundOfLog(rounds, log, options, on_progress).run();
}

}  // namespace alluvium::service
