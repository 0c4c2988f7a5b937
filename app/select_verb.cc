// alluvium select: a filter for pools of JSON lines.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/device.h"
#include "alluvium/backbone/encoder.h"
#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/error.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/selectors/decoder_gradient_scorer.h"
#include "alluvium/selectors/encoder_embedder.h"
#include "alluvium/service/bank_recall.h"
#include "alluvium/service/engine.h"
#include "alluvium/service/selection.h"
#include "alluvium/service/selection_rounds.h"
#include "configuration_options.h"
#include "console.h"
#include "progress_line.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

constexpr const char* kDecoder = "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";

struct SelectOptions {
  std::string selector = "zip_fit";
  std::string target;
  int64_t target_version = 1;
  std::string join = "mean";
  double quantile = -1;
  bool dsir_top_k = false;
  std::string adapter;
  std::string memories;
  std::string log;
  int64_t capacity = 20'000;
  selectors::GradientScorerOptions gradients;
  selectors::SelectorOptions selecting;
  service::SelectionOptions selection;
  ConfigurationOptions configuration;
};

std::string model_path(const std::string& key, const std::string& configured,
                       const std::string& fallback) {
  const std::string path =
      configured.empty() ? service::cache_directory() + "/models/" + fallback : configured;
  ALLUVIUM_CHECK(std::filesystem::exists(path), "{}: there is no model at {}", key, path);
  return path;
}

std::shared_ptr<const selectors::TextEmbedder> load_embedder(
    const service::Configuration& configuration) {
  const std::string path =
      model_path("models.encoder", configuration.models.encoder, "all-minilm-l6-v2");
  const auto checkpoint = backbone::open_checkpoint(path);
  return selectors::make_encoder_embedder(
      backbone::load_encoder(*checkpoint, backbone::load_tokenizer(*checkpoint, path),
                             backbone::choose_device(configuration.models.device)));
}

struct LoadedDecoder {
  std::shared_ptr<const backbone::Decoder> decoder;
  std::shared_ptr<const backbone::Tokenizer> tokenizer;
};

LoadedDecoder load_decoder(const service::Configuration& configuration) {
  const std::string path = model_path("models.decoder", configuration.models.decoder, kDecoder);
  const auto checkpoint = backbone::open_checkpoint(path);
  return {backbone::load_decoder(*checkpoint, backbone::choose_device(configuration.models.device)),
          backbone::load_tokenizer(*checkpoint, path)};
}

// Gradients of the decoder, with an adapter where one is named.
std::shared_ptr<selectors::GradientScorer> make_gradients(
    const LoadedDecoder& loaded, const selectors::GradientScorerOptions& options,
    const std::string& adapter) {
  if (adapter.empty()) {
    return selectors::make_decoder_gradient_scorer(loaded.decoder, loaded.tokenizer, options);
  }
  const learners::StoredAdapter stored =
      learners::load_adapter(adapter, loaded.decoder->geometry().layers, loaded.decoder->model());
  return selectors::make_decoder_gradient_scorer(loaded.decoder, loaded.tokenizer, options,
                                                 &stored.state);
}

// The instance whose memories dg_mem asks; it must not be running.
std::unique_ptr<service::Engine> open_instance(service::Configuration configuration,
                                               const std::string& directory) {
  ALLUVIUM_CHECK(std::filesystem::exists(directory + "/alluvium.db"),
                 "--memories: there is no instance in '{}'", directory);
  configuration.directory = directory;
  configuration.streams.gate = "none";
  return service::Engine::start(configuration, service::load_models(configuration));
}

// Budgets count the tokens the decoder would read.
std::function<int64_t(const std::string&)> token_counter(
    const service::Configuration& configuration) {
  const std::string path = model_path("models.decoder", configuration.models.decoder, kDecoder);
  const std::shared_ptr<backbone::Tokenizer> tokenizer =
      backbone::load_tokenizer(*backbone::open_checkpoint(path), path);
  return [tokenizer](const std::string& text) {
    return static_cast<int64_t>(tokenizer->encode(text).size());
  };
}

void print_problems(const service::SelectionReport& report, const std::string& pool) {
  if (report.retired > 0) {
    fmt::print(stderr,
               "{} rows need not be kept: copies of earlier ones, or more than the log keeps\n",
               report.retired);
  }
  if (report.refused > 0) {
    fmt::print(stderr, "{} rows were refused, the first: {}\n", report.refused,
               report.first_refusal);
  }
  if (report.bad > 0) {
    fmt::print(stderr, "{} lines are no samples:\n", report.bad);
    for (const service::SelectionProblem& problem : report.problems) {
      fmt::print(stderr, "  {}:{}: {}\n", pool, problem.line, problem.reason);
    }
    if (report.bad > static_cast<int64_t>(report.problems.size())) {
      fmt::print(stderr, "  and {} more\n",
                 report.bad - static_cast<int64_t>(report.problems.size()));
    }
  }
}

// Samples are chosen by the model's gradients, copies found by the encoder.
int run_round(const SelectOptions& options, memory_bank::Store& store) {
  selectors::AdaptInf rounds({.clusters = options.selecting.clusters,
                              .semantic_duplicate = options.selecting.semantic_duplicate,
                              .capacity = options.capacity,
                              .seed = options.selecting.seed},
                             *options.selecting.gradients, options.selecting.embedder.get());
  ProgressLine progress(has_terminal());
  const Stopwatch watch;
  const service::RoundOfLogReport report = service::run_round_of_log(
      rounds, store.samples(), options.selection, [&](const service::SelectionProgress& now) {
        progress.draw(fmt::format("{} {} rows", now.phase, now.rows), now.share);
      });
  progress.clear();
  const service::SelectionReport& selection = report.selection;
  fmt::print(stderr,
             "round {}{}: {} picked; {} rows came, {} of them known; {} scored; {} samples in the "
             "log, in {:.1f} s\n",
             report.round, report.resumed ? ", gone on with" : "", selection.picked, selection.rows,
             report.known, report.scored, report.pool, watch.elapsed_ms() / 1e3);
  print_problems(selection, options.selection.pool);
  return selection.bad == 0 ? 0 : 1;
}

void print_summary(const service::SelectionReport& report, const SelectOptions& options,
                   const std::string& label, double seconds) {
  fmt::print(stderr, "{}: {} of {} rows picked", label, report.picked, report.rows);
  if (options.selection.budget_tokens > 0) {
    fmt::print(stderr, " with {} tokens", report.tokens);
  }
  fmt::print(stderr, " in {:.1f} s", seconds);
  if (report.resumed_at > 0) {
    fmt::print(stderr, ", gone on at row {}", report.resumed_at);
  }
  fmt::print(stderr, "\n");
  if (options.selection.top > report.picked) {
    fmt::print(stderr,
               "--top {} is more than the {} rows of the pool that can be picked: all of them are "
               "given\n",
               options.selection.top, report.picked);
  }
  print_problems(report, options.selection.pool);
}

int run(SelectOptions options) {
  selectors::SelectorRegistry registry("selector");
  selectors::register_selectors(registry);
  selectors::SelectorOptions& selecting = options.selecting;
  service::SelectionOptions& selection = options.selection;
  if (options.quantile >= 0) {
    selection.quantile = options.quantile;
  }
  if (selecting.threads == 0) {
    selecting.threads = std::max<int64_t>(1, std::thread::hardware_concurrency());
  }
  selecting.picks = selection.top;
  selecting.dsir_sample = !options.dsir_top_k;
  selecting.length.join = options.join == "best" ? selectors::LengthOptions::Join::best
                                                 : selectors::LengthOptions::Join::mean;
  service::Configuration configuration = read_configuration(options.configuration);
  configuration.models.device.threads = selecting.threads;
  std::unique_ptr<service::Engine> instance;
  const bool asks_gradients = options.selector == "adapt_inf" || options.selector == "less";
  ALLUVIUM_CHECK(options.memories.empty() || options.selector == "adapt_inf",
                 "--memories is of adapt_inf, not of {}", options.selector);
  if (asks_gradients) {
    ALLUVIUM_CHECK(options.selector != "adapt_inf" || selection.top > 0,
                   "adapt_inf shares a number of picks out over clusters: --top is needed");
    selection.fields.with_answers = true;
    if (!options.memories.empty()) {
      instance = open_instance(configuration, options.memories);
      options.gradients.memory = service::make_bank_recall(*instance, configuration);
    }
    selecting.gradients = make_gradients(
        instance ? LoadedDecoder{instance->models().decoder, instance->models().decoder_tokenizer}
                 : load_decoder(configuration),
        options.gradients, options.adapter);
  }
  ALLUVIUM_CHECK(selecting.dedupe_semantic == 0 || options.selector == "dedupe",
                 "--dedupe-semantic is of dedupe, not of {}", options.selector);
  if (options.selector == "embedding" || options.selector == "d4" ||
      options.selector == "adapt_inf" || selecting.dedupe_semantic > 0) {
    selecting.embedder = load_embedder(configuration);
  }
  if (!options.log.empty()) {
    ALLUVIUM_CHECK(options.selector == "adapt_inf", "--log is of adapt_inf, not of {}",
                   options.selector);
    ALLUVIUM_CHECK(selection.state_directory.empty(),
                   "--log keeps everything --state would: give one of them");
    if (instance && std::filesystem::equivalent(options.log, options.memories)) {
      return run_round(options, instance->store());
    }
    return run_round(options, *memory_bank::Store::open(options.log));
  }
  const auto selector = registry.make(options.selector, selecting);
  selectors::TargetSet targets;
  if (selector->needs_targets()) {
    ALLUVIUM_CHECK(!options.target.empty(), "--target is needed by selector {}", options.selector);
    targets = service::load_targets(options.target, selection.fields);
  }
  targets.version = options.target_version;
  if (selection.budget_tokens > 0) {
    selection.count_tokens = token_counter(configuration);
  }

  ProgressLine progress(has_terminal());
  const Stopwatch watch;
  const service::SelectionReport report = service::run_selection(
      *selector, targets, selection, [&](const service::SelectionProgress& now) {
        progress.draw(fmt::format("{} {} rows, {} picked", now.phase, now.rows, now.picked),
                      now.share);
      });
  progress.clear();
  print_summary(report, options, selector->label(), watch.elapsed_ms() / 1e3);
  return report.bad == 0 ? 0 : 1;
}

}  // namespace

void add_select(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<SelectOptions>();
  selectors::SelectorOptions& selecting = options->selecting;
  service::SelectionOptions& selection = options->selection;
  selecting.threads = 0;
  selectors::SelectorRegistry registry("selector");
  selectors::register_selectors(registry);
  CLI::App* verb =
      program.add_subcommand("select", "Pick the rows of a pool that are most like the targets");
  verb->add_option("--selector", options->selector,
                   fmt::format("{}", fmt::join(registry.names(), ", ")))
      ->capture_default_str();
  verb->add_option("--target", options->target, "JSON lines: what the picks should be like");
  verb->add_option("--target-version", options->target_version,
                   "stands beside every score; two versions are never ranked together")
      ->capture_default_str();
  verb->add_option("--pool", selection.pool, ".jsonl or .jsonl.gz file, or '-'")->required();
  auto* how_many =
      verb->add_option_group("how many", "one of these; none with dedupe, or d4 without a budget");
  how_many->add_option("--top", selection.top, "the best K rows")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  how_many
      ->add_option("--budget-tokens", selection.budget_tokens,
                   "the best rows whose tokens, by the decoder's tokenizer, do not exceed this")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  how_many
      ->add_option(
          "--quantile", options->quantile,
          "rows that at least this share of the last --window scores lies below, as they come")
      ->check(CLI::Range(0.0, 1.0));
  how_many->require_option(0, 1);
  verb->add_option("--window", selection.window, "scores a quantile is taken of")
      ->capture_default_str();
  verb->add_option("--text-field", selection.fields.text, "field of the text; several are joined")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--id-field", selection.fields.id)->capture_default_str();
  verb->add_flag(
      "--json", selection.annotate,
      "add an object 'selection' to each pick: selector, target_version, score, row, rank");
  verb->add_flag("--explain", selection.explain, "the same with a reason");
  verb->add_option("--out", selection.out, "file of the picks instead of standard output");
  verb->add_option("--retired", selection.retired,
                   "file of the ids to retire (dedupe, adapt_inf, d4)");
  verb->add_option("--dead-letters", selection.dead_letters,
                   "file of the lines that are no samples");
  verb->add_option(
      "--state", selection.state_directory,
      "directory of checkpoints: killed and started again, the run goes on from the last");
  verb->add_option("--checkpoint-rows", selection.checkpoint_rows, "rows between checkpoints")
      ->capture_default_str();
  verb->add_option("--batch", selection.batch_rows, "rows judged at a time")->capture_default_str();
  verb->add_option("--threads", selecting.threads, "0 = all cores")->capture_default_str();
  verb->add_option("--seed", selecting.seed)->capture_default_str();
  verb->add_option("--mode", selecting.mode, "zip_fit: ref, cond, pool, two_stage")
      ->capture_default_str();
  verb->add_option("--compressor", selecting.compressor,
                   "zip_fit: gzip; lz4 in modes ref and pool; zstd in mode ref")
      ->capture_default_str();
  verb->add_option("--level", selecting.level, "zip_fit: gzip 1 to 9, zstd 1 to 22")
      ->capture_default_str();
  verb->add_option("--survivors", selecting.survivors,
                   "zip_fit, mode two_stage: candidates a pick that get the exact score")
      ->capture_default_str();
  verb->add_option("--min-bytes", selecting.length.min_bytes,
                   "zip_fit: shorter texts are refused; -1 = 200, or a quarter of the targets' "
                   "median where that is less")
      ->capture_default_str();
  verb->add_option("--chunk-bytes", selecting.length.chunk_bytes,
                   "zip_fit: longer texts are cut evenly; 0 = never, -1 = the targets' median")
      ->capture_default_str();
  verb->add_option("--chunk-score", options->join, "zip_fit: a text's score from its chunks'")
      ->check(CLI::IsMember({"mean", "best"}))
      ->capture_default_str();
  verb->add_option("--dsir-min-tokens", selecting.dsir_min_tokens,
                   "dsir: shorter texts are refused")
      ->capture_default_str();
  verb->add_flag("--dsir-top-k", options->dsir_top_k, "dsir: without Gumbel noise");
  verb->add_option("--duplicate-threshold", selecting.duplicate_threshold,
                   "dedupe, d4: similarity of words from which a text is a copy")
      ->capture_default_str();
  verb->add_option("--dedupe-capacity", selecting.dedupe_capacity, "dedupe: texts remembered")
      ->capture_default_str();
  verb->add_option("--dedupe-semantic", selecting.dedupe_semantic,
                   "dedupe: cosine of embeddings above which a text is a copy too, such as 0.98; 0 "
                   "= embeddings are not asked for")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  verb->add_option("--clusters", selecting.clusters,
                   "adapt_inf, d4: 0 = the knee of the distances' sum")
      ->capture_default_str();
  verb->add_option("--semantic-duplicate", selecting.semantic_duplicate,
                   "adapt_inf, d4: cosine above which a row is a copy of an earlier one")
      ->capture_default_str();
  verb->add_option("--d4-kept", selecting.d4_kept,
                   "d4: share of the rows left by the duplicates' step")
      ->capture_default_str();
  selectors::GradientScorerOptions& gradients = options->gradients;
  verb->add_option("--layer", gradients.layer,
                   "adapt_inf, less: block whose gradients are sketched; -1 = the middle one")
      ->capture_default_str();
  verb->add_option("--sketch-side", gradients.sketch_side,
                   "adapt_inf, less: a sketch has 4 times its square numbers")
      ->capture_default_str();
  verb->add_option("--max-tokens", gradients.max_tokens,
                   "adapt_inf, less: of a row; documents are cut at their start")
      ->capture_default_str();
  verb->add_option("--adapter", options->adapter,
                   "adapt_inf, less: directory of the adapter the model has now");
  verb->add_option("--memories", options->memories,
                   "adapt_inf: directory of an instance that is not running; how much its memories "
                   "tell already (dg_mem) is then one of the scores a cluster may be sampled by");
  verb->add_option(
      "--log", options->log,
      "adapt_inf: directory of a store whose sample log keeps the pool between runs: new "
      "rows join it, --top are chosen of everything that ever came, and a run that was "
      "killed is gone on with");
  verb->add_option("--capacity", options->capacity,
                   "adapt_inf, --log: samples kept from one round to the next")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  add_configuration_options(*verb, options->configuration);
  verb->footer(
      "A pick is its line of the pool, unchanged unless --json or --explain is given. Rows equal "
      "to a target are refused. adapt_inf and less read \"question\" or \"prompt\", \"answers\" or "
      "\"answer\" and \"document\" or \"context\" where a row has them, else its text, whose "
      "second "
      "half is what would be learned. Exit code 1 when a line was no sample; the others were "
      "judged.");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace alluvium::app
