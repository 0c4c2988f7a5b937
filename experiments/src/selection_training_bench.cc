// alluvium bench selection-training: units that have not been measured yet, then tables and curves over all of them.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <CLI/CLI.hpp>

#include "alluvium/core/error.h"
#include "alluvium/experiments/bench.h"
#include "alluvium/selectors/encoder_embedder.h"
#include "alluvium/service/engine.h"
#include "line_chart.h"
#include "progress_bar.h"
#include "selection_training.h"
#include "settings.h"

namespace alluvium::experiments {
namespace {

namespace fs = std::filesystem;

constexpr double kWholePool = 100;

struct TrainingBenchOptions {
  SelectionTrainingOptions training;
  std::vector<std::string> parts = {"target", "sequence"};
  std::vector<uint64_t> seeds = {0, 1, 2};
  std::string out;
  Settings settings;
};

struct Unit {
  std::string part;
  std::string name;  // target and selector, or arm and share
  uint64_t seed = 0;
  std::string target;
  double share = 0;

  std::string key() const { return fmt::format("{} {} {} {}", part, target, name, share); }
};

// Seeds outermost: a run that is cut leaves whole seeds.
std::vector<Unit> units_of(const TrainingBenchOptions& options) {
  std::vector<Unit> units;
  for (const uint64_t seed : options.seeds) {
    for (const std::string& part : options.parts) {
      if (part == "target") {
        for (const std::string& target : options.training.targets) {
          units.push_back({part, "none", seed, target, 0});
          for (const std::string& selector : options.training.selectors) {
            units.push_back({part, selector, seed, target, 0});
          }
        }
        continue;
      }
      for (const std::string& arm : options.training.arms) {
        if (arm == "sequential" || arm == "full") {
          units.push_back({part, arm, seed, "", kWholePool});
          continue;
        }
        for (const double share : options.training.shares) {
          units.push_back({part, arm, seed, "", share});
        }
      }
    }
  }
  return units;
}

// What finished units must have in common with this run.
std::string identity_of(const TrainingBenchOptions& options, const backbone::Decoder& decoder) {
  const SelectionTrainingOptions& o = options.training;
  return fmt::format(
      "decoder {}; rank {}, rate {}, epochs {}, batch {}, tokens {}; budgets {}, pool {}; {} rows "
      "a "
      "task, {} held out, passages of {} bytes, {} clusters, layer {}, side {}",
      to_hex(decoder.fingerprint()).substr(0, 16), o.trainer.rank, o.trainer.learning_rate,
      o.trainer.epochs, o.trainer.batch_tokens, o.trainer.max_tokens,
      fmt::join(o.budget_tokens, "+"), o.pool, o.rows_per_task, o.held_out, o.passage_bytes,
      o.clusters, o.gradients.layer, o.gradients.sketch_side);
}

// Finished units, one a line.
std::vector<Row> load_finished(const std::string& path, const std::string& identity) {
  std::vector<Row> finished;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    Row unit = Row::parse(line, nullptr, /*allow_exceptions=*/false);
    // A line that was cut when the run was: measured again.
    if (!unit.is_object()) {
      continue;
    }
    ALLUVIUM_CHECK(unit.at("identity") == identity,
                   "--out: {} was measured under other options ({}); this run is {}", path,
                   unit.at("identity").get<std::string>(), identity);
    finished.push_back(std::move(unit));
  }
  return finished;
}

std::vector<ChartSeries> curves(const std::vector<Row>& table, const std::string& series,
                                const std::string& x, const std::string& y) {
  std::map<std::string, ChartSeries> by_name;
  for (const Row& row : table) {
    if (!row.contains(y)) {
      continue;
    }
    ChartSeries& one = by_name[row.at(series).get<std::string>()];
    one.name = row.at(series).get<std::string>();
    one.points.push_back({row.at(x).get<double>(), row.at(y).get<double>(),
                          row.at(y + "_low").get<double>(), row.at(y + "_high").get<double>()});
  }
  std::vector<ChartSeries> list;
  for (auto& [name, one] : by_name) {
    list.push_back(std::move(one));
  }
  return list;
}

void write_report(const TrainingBenchOptions& options, const std::vector<std::string>& arguments,
                  const std::string& identity, const SelectionModels& models,
                  const std::vector<Row>& finished) {
  std::map<std::string, std::vector<Row>> rows;
  for (const Row& unit : finished) {
    std::vector<Row>& part = rows[unit.at("part").get<std::string>()];
    for (const Row& row : unit.at("rows")) {
      part.push_back(row);
    }
  }
  const std::string directory = options.out + "/";
  Row report = describe_run("selection-training", arguments);
  report["device"] = models.decoder->policy().reason;
  report["threads"] = options.training.threads;
  report["identity"] = identity;
  std::string markdown;
  if (const auto target = rows.find("target"); target != rows.end()) {
    const std::vector<Row> table = summarise_target(target->second);
    report["target"] = table;
    report["target_rows"] = target->second;
    markdown += "Held-out loss of the target after training on equal tokens, nats a token.\n\n" +
                to_markdown(table) + "\n";
    write_text(directory + "target.csv", to_csv(target->second));
    write_text(directory + "target_loss.svg",
               plot_lines("Held-out loss of the target", "tokens trained on an epoch",
                          "nats a token", curves(table, "selector", "budget_tokens", "nll")));
  }
  if (const auto sequence = rows.find("sequence"); sequence != rows.end()) {
    const std::vector<Row> table = summarise_sequence(sequence->second);
    report["sequence"] = table;
    report["sequence_rows"] = sequence->second;
    markdown +=
        "Five tasks in sequence; percent, mean and range over seeds.\n\n" + to_markdown(table);
    write_text(directory + "sequence.csv", to_csv(sequence->second));
    write_text(
        directory + "sequence_gain.svg",
        plot_lines("Relative gain after the last task", "percent of everything that came, a step",
                   "percent", curves(table, "arm", "share", "relative_gain")));
    write_text(directory + "sequence_forgetting.svg",
               plot_lines("Forgetting", "percent of everything that came, a step", "percent",
                          curves(table, "arm", "share", "forgetting")));
  }
  write_text(directory + "tables.md", markdown);
  write_json(directory + "result.json", report);
  std::fputs(markdown.c_str(), stdout);
}

int run(TrainingBenchOptions& options, const std::vector<std::string>& arguments) {
  service::Configuration configuration = options.settings.configuration();
  options.training.threads = configuration.models.device.threads;
  if (options.training.threads < 1) {
    options.training.threads = 1;
  }
  const service::Models loaded = service::load_models(configuration);
  SelectionModels models{loaded.decoder, loaded.decoder_tokenizer,
                         selectors::make_encoder_embedder(loaded.encoder)};
  fs::create_directories(options.out);
  const std::string identity = identity_of(options, *models.decoder);
  const std::string path = options.out + "/units.jsonl";
  std::vector<Row> finished = load_finished(path, identity);
  std::set<std::pair<std::string, uint64_t>> done;
  for (const Row& unit : finished) {
    done.emplace(unit.at("key").get<std::string>(), unit.at("seed").get<uint64_t>());
  }
  const std::vector<Unit> units = units_of(options);
  ProgressBar bar("units", std::ssize(units));
  for (const Unit& unit : units) {
    if (!done.contains({unit.key(), unit.seed})) {
      const std::vector<Row> rows =
          unit.part == "target"
              ? train_for_target(models, options.training, unit.target, unit.name, unit.seed)
              : train_sequence(models, options.training, unit.name, unit.share, unit.seed);
      finished.push_back({{"part", unit.part},
                          {"key", unit.key()},
                          {"seed", unit.seed},
                          {"identity", identity},
                          {"rows", rows}});
      write_json_lines(path, finished);
    }
    bar.advance();
  }
  write_report(options, arguments, identity, models, finished);
  return 0;
}

}  // namespace

int run_selection_training_bench(const std::vector<std::string>& arguments) {
  TrainingBenchOptions options;
  SelectionTrainingOptions& training = options.training;
  CLI::App app(
      "Low-rank adapters on the frozen decoder, trained on each selector's picks: the held-out "
      "loss of a target at equal tokens, and gain and forgetting over a sequence of five tasks.",
      "alluvium bench selection-training");
  app.add_option("--out", options.out,
                 "directory of tables, curves and finished units; a run that was cut goes on")
      ->required();
  app.add_option("--data", training.data, "folder of the evaluation data")->capture_default_str();
  app.add_option("--part", options.parts, "target, sequence")
      ->delimiter(',')
      ->check(CLI::IsMember({"target", "sequence"}))
      ->capture_default_str();
  app.add_option("--seed", options.seeds, "one run each")->delimiter(',')->capture_default_str();
  app.add_option("--target", training.targets, "humaneval, mbpp, minif2f, proofnet")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--selectors", training.selectors,
                 "zip_fit, length_matched_random, random, bm25, dsir, embedding, less, d4")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--budget-tokens", training.budget_tokens, "read in one epoch, a target")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{16}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--pool", training.pool, "rows of a target's pool")
      ->check(CLI::Range(int64_t{100}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--arms", training.arms, "sequential, random, adapt_inf, full")
      ->delimiter(',')
      ->check(CLI::IsMember({"sequential", "random", "adapt_inf", "full"}))
      ->capture_default_str();
  app.add_option("--shares", training.shares,
                 "percent of everything that came trained on at each step, of random and adapt_inf")
      ->delimiter(',')
      ->check(CLI::Range(0.1, kWholePool))
      ->capture_default_str();
  app.add_option("--rows-per-task", training.rows_per_task, "training rows of a task")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--held-out", training.held_out, "rows of a task that are measured on")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--passage-bytes", training.passage_bytes, "longer passages are passed by")
      ->capture_default_str();
  app.add_option("--clusters", training.clusters, "of adapt_inf; 0 = by the knee")
      ->capture_default_str();
  app.add_option("--layer", training.gradients.layer, "whose gradients are sketched; -1 = middle")
      ->capture_default_str();
  app.add_option("--sketch-side", training.gradients.sketch_side)->capture_default_str();
  app.add_option("--rank", training.trainer.rank)->capture_default_str();
  app.add_option("--learning-rate", training.trainer.learning_rate)->capture_default_str();
  app.add_option("--epochs", training.trainer.epochs)->capture_default_str();
  app.add_option("--batch-tokens", training.trainer.batch_tokens, "of a step, about")
      ->capture_default_str();
  app.add_option("--max-tokens", training.trainer.max_tokens, "of a sample")->capture_default_str();
  options.settings.add_to(app);
  if (const auto exit_code = Settings::parse(app, arguments)) {
    return *exit_code;
  }
  return run(options, arguments);
}

}  // namespace alluvium::experiments
