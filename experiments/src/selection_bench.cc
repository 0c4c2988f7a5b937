// `alluvium bench selection`: precision of every selector on four targets, and the speed of each mode beside the Python packages.
#include "alluvium/experiments/selection_bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/device.h"
#include "alluvium/backbone/encoder.h"
#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/error.h"
#include "alluvium/experiments/bench.h"
#include "alluvium/selectors/encoder_embedder.h"
#include "alluvium/service/configuration.h"
#include "exact_rankings.h"
#include "report.h"
#include "selection_contenders.h"
#include "selection_peers.h"
#include "selection_sketch.h"
#include "selection_stream.h"
#include "temporary_directory.h"

namespace alluvium::experiments {
namespace {

constexpr int64_t kPicks = 300;

struct BenchOptions {
  std::string data = "../shared/data";
  std::vector<std::string> targets = {"humaneval", "mbpp", "minif2f", "proofnet"};
  std::vector<int64_t> cut_bytes = {0, 300};
  std::vector<std::string> parts = {"precision", "speed"};
  bool validation = false;
  std::vector<std::string> only;  // "selector mode" of the rows to measure; empty = all
  std::string encoder;
  std::string decoder;
  std::string peers;
  bool peer_precision = false;
  int64_t speed_sources = 2000;
  int64_t speed_targets = 64;
  std::string stream_pool;
  std::string make_pool = "experiments/make_pool.py";
  int64_t stream_rows = 1'000'000;
  int64_t stream_targets = 16;
  SelectionStreamOptions stream;
  int64_t repeats = 3;
  int64_t threads = 2;
  uint64_t seed = 0;
  std::string json;
};

// What the table's rows have in common.
selectors::SelectorOptions base_options(const BenchOptions& bench) {
  selectors::SelectorOptions options;
  options.threads = bench.threads;
  options.seed = bench.seed;
  options.picks = kPicks;
  options.length.min_bytes = 0;  // the rows of two domains are short
  options.dsir_min_tokens = 0;
  return options;
}

// The tasks share most of their texts, so each is embedded once.
class RememberingEmbedder final : public selectors::TextEmbedder {
 public:
  explicit RememberingEmbedder(std::unique_ptr<selectors::TextEmbedder> embedder)
      : embedder_(std::move(embedder)) {}

  std::vector<std::vector<float>> embed(std::span<const std::string> texts) const override {
    std::vector<std::string> unknown;
    for (const std::string& text : texts) {
      if (known_.try_emplace(text).second) {
        unknown.push_back(text);
      }
    }
    std::vector<std::vector<float>> vectors = embedder_->embed(unknown);
    for (std::size_t i = 0; i < unknown.size(); ++i) {
      known_.at(unknown[i]) = std::move(vectors[i]);
    }
    remembered_ += texts.size() - unknown.size();
    std::vector<std::vector<float>> all;
    for (const std::string& text : texts) {
      all.push_back(known_.at(text));
    }
    return all;
  }

  /// Texts since the last call that cost no time.
  std::size_t take_remembered() const { return std::exchange(remembered_, 0); }

 private:
  const std::unique_ptr<selectors::TextEmbedder> embedder_;
  mutable std::unordered_map<std::string, std::vector<float>> known_;
  mutable std::size_t remembered_ = 0;
};

std::shared_ptr<const RememberingEmbedder> load_embedder(const std::string& path, int64_t threads) {
  backbone::DeviceOptions device;
  device.threads = threads;
  const auto checkpoint = backbone::open_checkpoint(path);
  return std::make_shared<RememberingEmbedder>(selectors::make_encoder_embedder(
      backbone::load_encoder(*checkpoint, backbone::load_tokenizer(*checkpoint, path),
                             backbone::choose_device(device))));
}

Row to_row(const std::string& selector, const std::string& mode, const std::string& target,
           const SelectionTask& task, const SelectionMeasure& measure) {
  return {{"selector", selector},
          {"mode", mode},
          {"target", target},
          {"precision_at_100", precision_at(task, measure.ranked, 100)},
          {"precision_at_300", precision_at(task, measure.ranked, 300)},
          {"ms_per_1000", measure.seconds * 1e6 / static_cast<double>(task.pool.size())},
          {"peak_rss_bytes", measure.peak_rss_bytes},
          {"speedup_over_zip_fit", nullptr},
          {"recall_of_exact_top", nullptr}};
}

class Bench {
 public:
  explicit Bench(const BenchOptions& options) : options_(options), registry_("selector") {
    selectors::register_selectors(registry_);
  }

  std::vector<Row> precision() {
    if (!options_.encoder.empty()) {
      embedder_ = load_embedder(options_.encoder, options_.threads);
    }
    std::vector<Row> rows;
    const TargetRows drawn = options_.validation ? TargetRows::validation : TargetRows::report;
    for (const int64_t cut : options_.cut_bytes) {
      for (const std::string& target : options_.targets) {
        const SelectionTask task =
            load_selection_task(options_.data, target, drawn, options_.seed, cut);
        const std::string name = target + (cut > 0 ? fmt::format(" cut {}", cut) : "") +
                                 (options_.validation ? " validation" : "");
        ExactRankings exact;
        for (const Contender& contender : contenders()) {
          const auto selector = registry_.make(contender.selector, contender.options);
          const SelectionMeasure measure = measure_selector(*selector, task, kPicks);
          rows.push_back(to_row(contender.selector, contender.mode, name, task, measure));
          if (embedder_ != nullptr && 2 * embedder_->take_remembered() > task.pool.size()) {
            rows.back()["ms_per_1000"] = nullptr;  // it had little to do
          }
          say("{}: {} {} over {} rows: {:.3f} at 100, {:.3f} at 300", name, contender.selector,
              contender.mode, task.pool.size(), precision_at(task, measure.ranked, 100),
              precision_at(task, measure.ranked, 300));
          exact.add(contender, measure.ranked);
          if (const auto recall = exact.recall(contender, measure.ranked, kPicks)) {
            rows.back()["recall_of_exact_top"] = *recall;
          }
        }
        if (options_.peer_precision) {
          for (const char* peer : {"zip-fit-gzip", "zip-fit-lz4", "data-selection"}) {
            say("{}: {}", name, peer);
            const SelectionMeasure measure =
                measure_peer(options_.peers, peer, task, options_.threads, kPicks);
            rows.push_back(to_row(peer, "package", name, task, measure));
          }
        }
        add_speedups(rows, name);
      }
    }
    return rows;
  }

  // The same pairs for everyone; the best of the repeats counts.
  std::vector<Row> speed() {
    const SelectionTask task =
        load_speed_task(options_.data, options_.speed_sources, options_.speed_targets);
    const auto rows_of_pool = static_cast<int64_t>(task.pool.size());
    std::vector<Row> rows;
    ExactRankings exact;
    SelectionMeasure whole_texts;  // ranked exactly, as the package does
    const auto add = [&](const std::string& selector, const std::string& mode,
                         const SelectionMeasure& measure) {
      Row row = to_row(selector, mode, task.target, task, measure);
      row["precision_at_100"] = nullptr;
      row["precision_at_300"] = nullptr;
      row["pairs_per_s"] =
          static_cast<double>(task.pool.size() * task.targets.size()) / measure.seconds;
      rows.push_back(std::move(row));
    };
    const auto run = [&](Contender contender, int64_t picks) {
      SelectionMeasure best;
      for (int64_t repeat = 0; repeat < options_.repeats; ++repeat) {
        say("speed: {} {}", contender.selector, contender.mode);
        const auto selector = registry_.make(contender.selector, contender.options);
        SelectionMeasure measure = measure_selector(*selector, task, picks);
        if (repeat == 0 || measure.seconds < best.seconds) {
          best = std::move(measure);
        }
      }
      return best;
    };
    const std::vector<Contender> modes = zip_fit_contenders(base_options(options_));
    for (const Contender& contender : modes) {
      const bool is_ref = contender.options.mode == "ref";
      const bool cuts = contender.options.length.chunk_bytes != 0;
      if (contender.options.mode == "two_stage" || (cuts && !is_ref)) {
        continue;
      }
      const SelectionMeasure measure = run(contender, rows_of_pool);
      exact.add(contender, measure.ranked);
      add(contender.selector, contender.mode, measure);
      if (contender.mode == "ref gzip-6") {
        whole_texts = measure;
        Contender writing = contender;
        writing.mode += " written by zlib";
        writing.options.size_only = false;
        add(writing.selector, writing.mode, run(writing, rows_of_pool));
      }
    }
    for (Contender contender : modes) {
      if (contender.options.mode != "two_stage") {
        continue;
      }
      const std::string mode = contender.mode;
      for (const int64_t percent : {1, 5}) {
        const int64_t picks = std::max<int64_t>(1, rows_of_pool * percent / 100);
        contender.mode = fmt::format("{}, K = {} %", mode, percent);
        const SelectionMeasure measure = run(contender, picks);
        add(contender.selector, contender.mode, measure);
        rows.back()["recall_of_exact_top"] = exact.recall(contender, measure.ranked, picks).value();
      }
    }
    for (const Contender& contender : baseline_contenders(base_options(options_), nullptr)) {
      if (contender.selector == "dsir" || contender.selector == "bm25") {
        add(contender.selector, contender.mode, run(contender, rows_of_pool));
      }
    }
    if (!options_.peers.empty()) {
      add_peers(task, whole_texts, add);
    }
    add_speedups(rows, task.target);
    return rows;
  }

  const Row& parity() const { return parity_; }

 private:
  template <class... Args>
  static void say(fmt::format_string<Args...> format, Args&&... args) {
    fmt::print(stderr, "{}\n", fmt::format(format, std::forward<Args>(args)...));
  }

  std::vector<Contender> contenders() const {
    std::vector<Contender> list = zip_fit_contenders(base_options(options_));
    if (!options_.validation) {
      for (Contender& contender : baseline_contenders(base_options(options_), embedder_)) {
        list.push_back(std::move(contender));
      }
    }
    std::erase_if(list, [this](const Contender& contender) {
      const std::string name =
          contender.selector + (contender.mode.empty() ? "" : " " + contender.mode);
      const auto& only = options_.only;
      return !only.empty() && std::find(only.begin(), only.end(), name) == only.end();
    });
    return list;
  }

  template <class Add>
  void add_peers(const SelectionTask& task, const SelectionMeasure& exact, const Add& add) {
    const auto rows = static_cast<int64_t>(task.pool.size());
    for (const char* peer : {"zip-fit-gzip", "zip-fit-lz4", "data-selection"}) {
      SelectionMeasure best;
      for (int64_t repeat = 0; repeat < options_.repeats; ++repeat) {
        say("speed: {}", peer);
        SelectionMeasure measure = measure_peer(options_.peers, peer, task, options_.threads, rows);
        if (repeat == 0 || measure.seconds < best.seconds) {
          best = std::move(measure);
        }
      }
      add(peer, "package", best);
      if (std::string(peer) == "zip-fit-gzip") {
        double largest = 0;
        for (std::size_t i = 0; i < exact.scores.size(); ++i) {
          largest = std::max(largest, std::abs(exact.scores[i] - best.scores[i]));
        }
        parity_ = {{"rows", rows},
                   {"targets", task.targets.size()},
                   {"largest_score_difference", largest},
                   {"same_order", same_order(exact.ranked, exact.scores, best.scores)}};
      }
    }
  }

  // Whether the other scores fall along our ranking; where they are equal to 1e-12 the order between them says nothing.
  static bool same_order(const std::vector<int64_t>& ranked, const std::vector<double>& ours,
                         const std::vector<double>& theirs) {
    for (std::size_t i = 1; i < ranked.size(); ++i) {
      const auto a = static_cast<std::size_t>(ranked[i - 1]);
      const auto b = static_cast<std::size_t>(ranked[i]);
      if (theirs[a] < theirs[b] - 1e-12 && ours[a] > ours[b]) {
        return false;
      }
    }
    return true;
  }

  // Against the package's gzip on the same texts of the same run.
  static void add_speedups(std::vector<Row>& rows, const std::string& target) {
    double package_ms = 0;
    for (const Row& row : rows) {
      if (row.at("target") == target && row.at("selector") == "zip-fit-gzip") {
        package_ms = row.at("ms_per_1000").get<double>();
      }
    }
    for (Row& row : rows) {
      if (package_ms > 0 && row.at("target") == target && row.at("ms_per_1000").is_number()) {
        row["speedup_over_zip_fit"] = package_ms / row.at("ms_per_1000").get<double>();
      }
    }
  }

  const BenchOptions& options_;
  selectors::SelectorRegistry registry_;
  std::shared_ptr<const RememberingEmbedder> embedder_;
  Row parity_;
};

// Mean of precision at 100 and 300 over all targets, for each mode of ZIP-FIT: what a mode is chosen by.
Row mean_precision(const std::vector<Row>& rows) {
  std::map<std::string, std::pair<double, int64_t>> sums;
  for (const Row& row : rows) {
    if (row.at("selector") == "zip_fit") {
      auto& [sum, count] = sums[row.at("mode").get<std::string>()];
      sum +=
          (row.at("precision_at_100").get<double>() + row.at("precision_at_300").get<double>()) / 2;
      ++count;
    }
  }
  Row means = Row::object();
  for (const auto& [mode, sum] : sums) {
    means[mode] = sum.first / static_cast<double>(sum.second);
  }
  return means;
}

// Makes the pool where none is given; it goes when it was selected from.
Row measure_stream(const BenchOptions& bench) {
  const TemporaryDirectory directory;
  SelectionStreamOptions options = bench.stream;
  options.directory = directory.path();
  options.threads = bench.threads;
  options.pool = bench.stream_pool;
  if (options.pool.empty()) {
    options.pool = directory.path() + "/pool.jsonl";
    make_stream_pool(bench.make_pool, bench.data, bench.stream_rows, bench.seed, options.pool);
  }
  options.targets = load_speed_task(bench.data, 1, bench.stream_targets).targets;
  return to_row(options, measure_selection_stream(options));
}

}  // namespace

int run_selection_bench(const std::vector<std::string>& arguments) {
  BenchOptions options;
  options.encoder = service::cache_directory() + "/models/all-minilm-l6-v2";
  options.decoder =
      service::cache_directory() + "/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
  CLI::App app(
      "Precision of every selector on four targets with known domains, and speed beside the "
      "packages "
      "zip-fit and data-selection.",
      "alluvium bench selection");
  app.add_option("--data", options.data, "folder of the evaluation data")->capture_default_str();
  app.add_option("--part", options.parts, "precision, speed, sketch, stream")
      ->delimiter(',')
      ->check(CLI::IsMember({"precision", "speed", "sketch", "stream"}))
      ->capture_default_str();
  app.add_option("--target", options.targets, "humaneval, mbpp, minif2f, proofnet")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--cut-bytes", options.cut_bytes, "texts cut to this many bytes; 0 = whole")
      ->delimiter(',')
      ->capture_default_str();
  app.add_flag("--validation", options.validation,
               "modes of zip_fit on other target rows, to choose one by");
  app.add_option("--only", options.only,
                 "precision rows to measure, by selector and mode, e.g. 'zip_fit pool gzip-6,bm25'")
      ->delimiter(',');
  app.add_option("--encoder", options.encoder, "of the embedding selector; empty leaves it out")
      ->capture_default_str();
  app.add_option("--decoder", options.decoder, "GGUF file or directory of part sketch")
      ->capture_default_str();
  app.add_option("--peers", options.peers,
                 "experiments/peers/selection_peers.py, to measure the packages in the same run");
  app.add_flag("--peer-precision", options.peer_precision,
               "the packages on the precision pools too (minutes)");
  app.add_option("--speed-sources", options.speed_sources)->check(CLI::Range(1, 100000));
  app.add_option("--speed-targets", options.speed_targets)->check(CLI::Range(1, 164));
  app.add_option("--stream-pool", options.stream_pool,
                 "pool of part stream; one of --stream-rows rows is made when none is given");
  app.add_option("--make-pool", options.make_pool, "what makes it")->capture_default_str();
  app.add_option("--stream-rows", options.stream_rows)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--stream-targets", options.stream_targets)
      ->check(CLI::Range(1, 164))
      ->capture_default_str();
  app.add_option("--top", options.stream.top, "picks of part stream")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--checkpoint-rows", options.stream.checkpoint_rows, "of part stream")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--repeats", options.repeats, "of speed; the best counts")
      ->check(CLI::Range(1, 100));
  app.add_option("--threads", options.threads, "of selectors and packages")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of target rows, pool order and random selectors");
  app.add_option("--json", options.json, "write the result to this file");
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  ALLUVIUM_CHECK(!options.peer_precision || !options.peers.empty(),
                 "--peer-precision needs --peers");

  Bench bench(options);
  const auto asked = [&](const char* part) {
    return std::find(options.parts.begin(), options.parts.end(), part) != options.parts.end();
  };
  Row report = describe_run("selection", arguments);
  report["threads"] = options.threads;
  report["seed"] = options.seed;
  std::vector<Row> rows;
  if (asked("precision")) {
    rows = bench.precision();
    std::fputs(to_markdown(rows).c_str(), stdout);
    report["mean_precision"] = mean_precision(rows);
    fmt::print("\nmean of precision at 100 and 300, by mode: {}\n",
               report["mean_precision"].dump());
  }
  if (asked("speed")) {
    const std::vector<Row> speed = bench.speed();
    std::printf("\n%s", to_markdown(speed).c_str());
    rows.insert(rows.end(), speed.begin(), speed.end());
    if (!bench.parity().is_null()) {
      report["parity_with_zip_fit"] = bench.parity();
      fmt::print("\nparity with the package: {}\n", bench.parity().dump());
    }
  }
  if (asked("sketch")) {
    const std::vector<Row> sketch =
        measure_sketches(options.data, options.decoder, options.threads, options.repeats);
    std::printf("\n%s", to_markdown(sketch).c_str());
    report["sketch"] = sketch;
  }
  bool goes_on = true;
  if (asked("stream")) {
    const Row stream = measure_stream(options);
    std::printf("\n%s", to_markdown(stream.at("runs").get<std::vector<Row>>()).c_str());
    fmt::print("\n{} rows, {:.0f} a second; gone on at row {}: {}\n",
               stream.at("pool_rows").get<int64_t>(), stream.at("rows_per_s").get<double>(),
               stream.at("gone_on_at_row").get<int64_t>(),
               stream.at("same_output") ? "the same output" : "ANOTHER OUTPUT");
    report["stream"] = stream;
    goes_on = stream.at("same_output").get<bool>();
  }
  report["rows"] = rows;
  if (!options.json.empty()) {
    write_json(options.json, report);
  }
  return goes_on ? 0 : 1;
}

}  // namespace alluvium::experiments
