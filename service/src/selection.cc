#include "alluvium/service/selection.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <map>
#include <unistd.h>
#include <unordered_set>
#include <utility>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/selectors/ranking.h"
#include "alluvium/selectors/stream_gate.h"
#include "selection_output.h"
#include "selection_pool.h"
#include "selection_state.h"

namespace alluvium::service {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using selectors::Candidate;
using selectors::Passage;
using selectors::Sample;
using selectors::Score;
using selectors::Verdict;

constexpr std::size_t kShownProblems = 5;

void validate(const selectors::Selector& selector, const SelectionOptions& options) {
  const int chosen = (options.top != 0 ? 1 : 0) + (options.budget_tokens != 0 ? 1 : 0) +
                     (options.quantile ? 1 : 0);
  ALLUVIUM_CHECK(options.top >= 0, "top must be at least 1, got {}", options.top);
  ALLUVIUM_CHECK(options.budget_tokens >= 0, "budget_tokens must be at least 1, got {}",
                 options.budget_tokens);
  ALLUVIUM_CHECK(chosen <= 1, "only one of top, budget_tokens and quantile can be given");
  ALLUVIUM_CHECK(chosen == 1 || !selector.needs_targets(),
                 "one of top, budget_tokens and quantile is needed");
  ALLUVIUM_CHECK(options.budget_tokens == 0 || options.count_tokens,
                 "budget_tokens needs a way to count tokens");
  ALLUVIUM_CHECK(options.batch_rows >= 1, "batch_rows must be at least 1, got {}",
                 options.batch_rows);
  ALLUVIUM_CHECK(options.checkpoint_rows >= 1, "checkpoint_rows must be at least 1, got {}",
                 options.checkpoint_rows);
  ALLUVIUM_CHECK(!options.fields.text.empty(), "a row needs at least one text field");
}

/// Standard input on the disk, for selectors that read the pool twice. The file has no name: nothing is left of it after a crash.
class Spool {
 public:
  explicit Spool(const std::string& directory) {
    std::string name =
        (directory.empty() ? fs::temp_directory_path() : fs::path(directory)) / "pool-XXXXXX";
    descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    ALLUVIUM_CHECK(descriptor_ >= 0, "cannot write '{}': {}", name, std::strerror(errno));
    ::unlink(name.c_str());
    path_ = fmt::format("/proc/self/fd/{}", descriptor_);
    SelectionOutput file;
    file.open_file(path_, 0);
    const auto input = streams::open_standard_input();
    std::string buffer(std::size_t{1} << 16, '\0');
    while (const std::size_t bytes = input->read(buffer.data(), buffer.size())) {
      file.write_bytes({buffer.data(), bytes});
    }
    file.flush(false);
  }
  ~Spool() { ::close(descriptor_); }
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  const std::string& path() const { return path_; }

 private:
  int descriptor_ = -1;
  std::string path_;
};

class Run {
 public:
  Run(selectors::Selector& selector, const selectors::TargetSet& targets,
      const SelectionOptions& options,
      const std::function<void(const SelectionProgress&)>& on_progress)
      : selector_(selector), targets_(targets), options_(options), on_progress_(on_progress) {
    const int64_t survivors = selector.survivors_per_pick();
    if (options.quantile) {
      gate_.emplace(selector, selectors::StreamGateOptions{.quantile = *options.quantile,
                                                           .window = options.window});
    } else if (options.top > 0 || options.budget_tokens > 0) {
      ranking_.emplace(options.top * survivors, options.budget_tokens * survivors);
    }
    // Leaking what is measured: a target in the pool would rank first.
    if (selector.needs_targets()) {
      target_texts_.insert(targets.texts.begin(), targets.texts.end());
    }
  }

  SelectionReport run() {
    open();
    if (selector_.observes() && !gate_) {
      if (options_.pool == "-") {
        spool_.emplace(options_.state_directory);
      }
      if (phase_ == "observing") {
        read_pool("reading", [this](const PoolBatch& batch) { selector_.observe(batch.samples); });
        selector_.end_observing();
        phase_ = "scoring";
        lines_ = 0;
        checksum_ = 0;
        row_ = 0;
        save();
      }
    }
    report_.rows = row_;
    read_pool("scoring", [this](const PoolBatch& batch) { judge(batch); });
    if (ranking_) {
      give_best();
    }
    for (SelectionOutput* output : {&out_, &retired_, &dead_letters_}) {
      output->flush(true);
    }
    if (!state_path_.empty()) {
      fs::remove(state_path_);
    }
    return report_;
  }

 private:
  // What a state must have in common with a run that goes on from it.
  std::string identity() const {
    return fmt::format(
        "{}; {}; fields {} {} {}; top {}, budget {}, quantile {}, window {}, batch {}",
        selector_.label(), target_identity(targets_), fmt::join(options_.fields.text, "+"),
        options_.fields.id, options_.fields.with_answers ? "with answers" : "", options_.top,
        options_.budget_tokens, options_.quantile ? fmt::format("{}", *options_.quantile) : "none",
        options_.window, options_.batch_rows);
  }

  void open() {
    phase_ = selector_.observes() && !gate_ ? "observing" : "scoring";
    std::map<std::string, int64_t> written;
    if (!options_.state_directory.empty()) {
      std::error_code error;
      fs::create_directories(options_.state_directory, error);
      ALLUVIUM_CHECK(!error, "--state: cannot make '{}': {}", options_.state_directory,
                     error.message());
      state_path_ = options_.state_directory + "/selection.state";
      if (const auto state = read_selection_state(state_path_)) {
        restore(*state);
        written = state->at("written").get<std::map<std::string, int64_t>>();
      }
    }
    if (options_.out.empty()) {
      out_.open_standard_output();
    } else {
      out_.open_file(options_.out, written["out"]);
    }
    if (!options_.retired.empty()) {
      retired_.open_file(options_.retired, written["retired"]);
    }
    if (!options_.dead_letters.empty()) {
      dead_letters_.open_file(options_.dead_letters, written["dead_letters"]);
    }
  }

  void read_pool(const char* phase, const std::function<void(const PoolBatch&)>& use) {
    const std::string path = spool_ ? spool_->path() : options_.pool;
    PoolReader pool(path == "-" ? streams::open_standard_input() : streams::open_file_input(path),
                    options_);
    pool.skip(lines_, checksum_);
    int64_t saved = row_;
    while (auto batch = pool.next()) {
      for (Sample& sample : batch->samples) {
        sample.arrival = row_++;
      }
      use(*batch);
      lines_ = pool.lines();
      checksum_ = pool.checksum();
      if (row_ - saved >= options_.checkpoint_rows) {
        save();
        saved = row_;
      }
      if (on_progress_) {
        on_progress_({phase, row_, report_.picked, pool.progress()});
      }
    }
  }

  void judge(const PoolBatch& batch) {
    for (const PoolBatch::Bad& bad : batch.bad) {
      ++report_.bad;
      if (report_.problems.size() < kShownProblems) {
        report_.problems.push_back({bad.line, bad.reason});
      }
      dead_letters_.write(
          json{{"line", bad.line}, {"reason", bad.reason}, {"content", bad.content}}.dump());
    }
    report_.rows += static_cast<int64_t>(batch.samples.size());
    if (gate_) {
      pass(batch);
    } else {
      rank(batch);
    }
  }

  void pass(const PoolBatch& batch) {
    const std::vector<Passage> passages = gate_->judge(batch.samples);
    for (std::size_t i = 0; i < passages.size(); ++i) {
      const Sample& sample = batch.samples[i];
      if (passages[i].outcome == Passage::Outcome::retired) {
        retire(sample, passages[i].reason);
      } else if (passages[i].outcome == Passage::Outcome::refused) {
        refuse(sample, passages[i].reason);
      } else if (target_texts_.contains(sample.text)) {
        refuse(sample, "is itself a target");
      } else if (passages[i].outcome == Passage::Outcome::admitted) {
        give(sample, batch.lines[i], passages[i].score, 0);
      }
    }
    out_.flush(false);
  }

  void rank(const PoolBatch& batch) {
    const std::vector<Score> scores = selector_.score(batch.samples);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const Sample& sample = batch.samples[i];
      if (scores[i].verdict == Verdict::retire) {
        retire(sample, scores[i].reason);
      } else if (scores[i].verdict == Verdict::refuse) {
        refuse(sample, scores[i].reason);
      } else if (target_texts_.contains(sample.text)) {
        refuse(sample, "is itself a target");
      } else if (ranking_) {
        offer(sample, batch.lines[i], scores[i].value);
      } else {
        give(sample, batch.lines[i], scores[i].value, 0);
      }
    }
  }

  void retire(const Sample& sample, const std::string& reason) {
    ++report_.retired;
    retired_.write(json{{"id", sample.id}, {"reason", reason}}.dump());
  }

  void refuse(const Sample& sample, const std::string& reason) {
    ++report_.refused;
    if (report_.first_refusal.empty()) {
      report_.first_refusal = fmt::format("{}: {}", sample.id, reason);
    }
  }

  void offer(const Sample& sample, const std::string& line, double score) {
    if (ranking_->admits(score)) {
      const int64_t tokens = options_.budget_tokens > 0 ? options_.count_tokens(sample.text) : 0;
      ranking_->add({score, sample.arrival, tokens, line});
    }
  }

  void give_best() {
    std::vector<Candidate> candidates(ranking_->kept().begin(), ranking_->kept().end());
    selectors::TopRanking best(options_.top, options_.budget_tokens);
    const bool refines = selector_.survivors_per_pick() > 1;
    for (std::size_t begin = 0; begin < candidates.size();) {
      const std::size_t end =
          std::min(candidates.size(), begin + static_cast<std::size_t>(options_.batch_rows));
      std::vector<Sample> samples;
      for (std::size_t i = begin; refines && i < end; ++i) {
        samples.push_back(to_sample(candidates[i]));
      }
      const std::vector<Score> exact = refines ? selector_.refine(samples) : std::vector<Score>();
      for (std::size_t i = begin; i < end; ++i) {
        candidates[i].score = refines ? exact[i - begin].value : candidates[i].score;
        best.add(std::move(candidates[i]));
      }
      begin = end;
      if (on_progress_) {
        on_progress_({"refining", row_, 0,
                      static_cast<double>(end) / static_cast<double>(candidates.size())});
      }
    }
    int64_t rank = 0;
    for (const Candidate& pick : best.take()) {
      report_.tokens += pick.tokens;
      give(to_sample(pick), pick.line, pick.score, ++rank);
    }
  }

  Sample to_sample(const Candidate& candidate) const {
    Sample sample = parse_row(candidate.line, options_.fields, 0);
    sample.arrival = candidate.arrival;
    return sample;
  }

  void give(const Sample& sample, const std::string& line, double score, int64_t rank) {
    ++report_.picked;
    if (!options_.annotate && !options_.explain) {
      out_.write(line);
      return;
    }
    nlohmann::ordered_json object = nlohmann::ordered_json::parse(line);
    nlohmann::ordered_json selection = {{"selector", selector_.label()},
                                        {"target_version", targets_.version},
                                        {"score", score},
                                        {"row", sample.arrival + 1}};
    if (rank > 0) {
      selection["rank"] = rank;
    }
    if (options_.explain) {
      selection["reason"] = selector_.explain(sample, score);
    }
    object["selection"] = std::move(selection);
    out_.write(object.dump());
  }

  void save() {
    if (state_path_.empty()) {
      return;
    }
    std::map<std::string, int64_t> written;
    const auto flush = [&](const char* name, SelectionOutput& output) {
      output.flush(true);
      written[name] = output.bytes();
    };
    flush("out", out_);
    flush("retired", retired_);
    flush("dead_letters", dead_letters_);
    json problems = json::array();
    for (const SelectionProblem& problem : report_.problems) {
      problems.push_back({problem.line, problem.reason});
    }
    const std::string learned = selector_.save();
    json state = {{"identity", identity()},
                  {"phase", phase_},
                  {"lines", lines_},
                  {"checksum", checksum_},
                  {"row", row_},
                  {"picked", report_.picked},
                  {"refused", report_.refused},
                  {"retired", report_.retired},
                  {"bad", report_.bad},
                  {"first_refusal", report_.first_refusal},
                  {"problems", problems},
                  {"written", written},
                  {"selector", json::binary({learned.begin(), learned.end()})}};
    if (gate_) {
      state["gate"] = window_to_json(gate_->window());
    }
    if (ranking_) {
      json candidates = json::array();
      for (const Candidate& candidate : ranking_->kept()) {
        candidates.push_back(
            {candidate.score, candidate.arrival, candidate.tokens, candidate.line});
      }
      state["candidates"] = std::move(candidates);
    }
    write_selection_state(state_path_, state);
  }

  void restore(const json& state) try {
    const std::string belongs_to = state.at("identity").get<std::string>();
    ALLUVIUM_CHECK(belongs_to == identity(),
                   "--state: '{}' belongs to another selection ({}), this one is {}",
                   options_.state_directory, belongs_to, identity());
    phase_ = state.at("phase").get<std::string>();
    lines_ = state.at("lines").get<int64_t>();
    checksum_ = state.at("checksum").get<uint32_t>();
    row_ = state.at("row").get<int64_t>();
    report_.picked = state.at("picked").get<int64_t>();
    report_.refused = state.at("refused").get<int64_t>();
    report_.retired = state.at("retired").get<int64_t>();
    report_.bad = state.at("bad").get<int64_t>();
    report_.first_refusal = state.at("first_refusal").get<std::string>();
    report_.resumed_at = row_;
    for (const json& problem : state.at("problems")) {
      report_.problems.push_back({problem.at(0).get<int64_t>(), problem.at(1).get<std::string>()});
    }
    const json::binary_t& learned = state.at("selector").get_binary();
    selector_.restore({reinterpret_cast<const char*>(learned.data()), learned.size()});
    if (gate_) {
      gate_->restore(window_from_json(state.at("gate")));
    }
    if (ranking_) {
      for (const json& row : state.at("candidates")) {
        ranking_->add({row.at(0).get<double>(), row.at(1).get<int64_t>(), row.at(2).get<int64_t>(),
                       row.at(3).get<std::string>()});
      }
    }
  } catch (const json::exception& error) {
    throw DataCorruption(
        fmt::format("'{}': {}; remove it to start anew", state_path_, error.what()));
  }

  selectors::Selector& selector_;
  const selectors::TargetSet& targets_;
  const SelectionOptions& options_;
  const std::function<void(const SelectionProgress&)>& on_progress_;
  std::unordered_set<std::string> target_texts_;
  std::optional<selectors::TopRanking> ranking_;
  std::optional<selectors::StreamGate> gate_;
  std::optional<Spool> spool_;
  SelectionOutput out_;
  SelectionOutput retired_;
  SelectionOutput dead_letters_;
  std::string state_path_;
  SelectionReport report_;
  // Where the pass over the pool stands; what a checkpoint says.
  std::string phase_;
  int64_t lines_ = 0;
  uint32_t checksum_ = 0;
  int64_t row_ = 0;
};

}  // namespace

SelectionReport run_selection(selectors::Selector& selector, const selectors::TargetSet& targets,
                              const SelectionOptions& options,
                              const std::function<void(const SelectionProgress&)>& on_progress) {
  validate(selector, options);
  if (selector.needs_targets()) {
    selector.set_targets(std::make_shared<selectors::TargetSet>(targets));
  }
  return Run(selector, targets, options, on_progress).run();
}

}  // namespace alluvium::service
