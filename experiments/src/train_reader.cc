// alluvium train reader: from documents and questions to an adapter on the disk.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/experiments/qa_dataset.h"
#include "alluvium/experiments/training.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/learners/trainer.h"
#include "reader_task.h"
#include "report.h"
#include "settings.h"

namespace alluvium::experiments {
namespace {

constexpr double kPrintEveryMs = 10000;

std::atomic<bool> stop_asked{false};

struct TrainReaderOptions {
  std::string documents;
  std::string questions;
  std::string where;
  int64_t limit = 0;
  std::string validation_questions;
  std::string validation_where;
  int64_t validation_limit = 200;
  std::string out;
  std::string from;
  std::string name = "reader";
  int64_t version = 1;
  std::string decay = "linear";
  std::string optimiser = "adamw";
  std::vector<std::string> projections;
  std::vector<std::string> presets = {"lossless"};
  std::string distractors = "title";
  std::string memory_cache;
  learners::LoraOptions lora;
  learners::TrainerOptions trainer;
  ReaderExampleOptions examples;
  double dropout = 0;
  Settings settings;
};

/// Ctrl-C and SIGTERM end the run after the step in hand, with a checkpoint.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_asked = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

/// One line of progress: redrawn on a terminal, written now and then elsewhere.
class StepLine {
 public:
  explicit StepLine(int64_t steps) : steps_(steps), terminal_(isatty(STDERR_FILENO) != 0) {}

  void show(const learners::TrainingPoint& point) {
    smooth_ = shown_any_ ? 0.95 * smooth_ + 0.05 * point.loss : point.loss;
    first_step_ = shown_any_ ? first_step_ : point.step - 1;
    shown_any_ = true;
    const bool due = terminal_ || watch_.elapsed_ms() - shown_ms_ > kPrintEveryMs;
    if (!due && !point.validation && point.step != steps_) {
      return;
    }
    shown_ms_ = watch_.elapsed_ms();
    const double per_step = shown_ms_ / 1e3 / static_cast<double>(point.step - first_step_);
    const double left = per_step * static_cast<double>(steps_ - point.step);
    fmt::print(
        stderr,
        "{}step {}/{}  loss {:.4f} (smoothed {:.4f})  rate {:.2e}  {:.2f} s a step  {:.0f} s left",
        terminal_ ? "\r" : "", point.step, steps_, point.loss, smooth_, point.learning_rate,
        per_step, left);
    if (point.validation) {
      fmt::print(stderr, "  validation loss {:.4f}", point.validation->loss);
      for (const auto& [metric, value] : point.validation->metrics) {
        fmt::print(stderr, " {} {:.1f}", metric, value);
      }
    }
    std::fputs(terminal_ && !point.validation ? "   " : "\n", stderr);
    std::fflush(stderr);
  }

 private:
  const int64_t steps_;
  const bool terminal_;
  Stopwatch watch_;
  double shown_ms_ = -kPrintEveryMs;
  double smooth_ = 0;
  int64_t first_step_ = 0;
  bool shown_any_ = false;
};

void add_options(CLI::App& app, TrainReaderOptions& o) {
  app.add_option("--documents", o.documents, "JSON lines: id, title, text")->required();
  app.add_option("--questions", o.questions, "JSON lines: id, question, answers, doc_id or doc_ids")
      ->required();
  app.add_option("--where", o.where, "train on questions whose field has this value: field=value");
  app.add_option("--limit", o.limit, "questions trained on, drawn by the seed; 0 = all");
  app.add_option("--validation-questions", o.validation_questions,
                 "held-back questions over the same documents; default: --questions");
  app.add_option("--validation-where", o.validation_where, "likewise: field=value");
  app.add_option("--validation-limit", o.validation_limit, "questions of a validation; 0 = all");
  app.add_option("--out", o.out,
                 "directory of the adapter, its checkpoint and its curve; a run that was cut goes "
                 "on from it")
      ->required();
  app.add_option("--from", o.from, "directory of an adapter to train further");
  app.add_option("--name", o.name, "of the adapter");
  app.add_option("--adapter-version", o.version, "of the adapter");
  app.add_option("--steps", o.trainer.rate.steps, "optimiser steps")->required();
  app.add_option("--rows", o.examples.rows_per_batch,
                 "question and answer tokens of a micro-batch, about");
  app.add_option("--parts", o.trainer.parts, "micro-batches a step");
  app.add_option("--learning-rate", o.trainer.rate.highest, "after the warm-up");
  app.add_option("--warm-up", o.trainer.rate.warm_up_steps, "steps");
  app.add_option("--decay", o.decay, "linear, cosine or none")
      ->check(CLI::IsMember({"linear", "cosine", "none"}));
  app.add_option("--optimiser", o.optimiser,
                 "adamw; apollo: its step sizes from a random projection of the gradient, a "
                 "quarter of the moments; apollo-mini: one step size a matrix, a sixteenth")
      ->check(CLI::IsMember({"adamw", "apollo", "apollo-mini"}));
  app.add_option("--weight-decay", o.trainer.adam_w.weight_decay, "decoupled, times the rate");
  app.add_option("--clip", o.trainer.clip_norm, "largest norm of a step's gradient");
  app.add_option("--rank", o.lora.rank, "of the adapter");
  app.add_option("--alpha", o.lora.alpha, "scale = alpha / rank");
  app.add_flag("--rank-stabilised", o.lora.rank_stabilised, "scale = alpha / sqrt(rank)");
  app.add_option("--projections", o.projections,
                 "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj; default: all")
      ->delimiter(',');
  app.add_option("--dropout", o.dropout, "of the rows that enter the adapter");
  app.add_option("--documents-per-question", o.examples.documents_per_question,
                 "documents attended to at most, the right one among distractors; 1..8");
  app.add_option("--several-share", o.examples.several_share,
                 "share of the readings with more than one document");
  app.add_option("--preset", o.presets,
                 "codec presets of the memories trained on, one drawn for each reading")
      ->delimiter(',');
  app.add_option("--memory-cache", o.memory_cache,
                 "directory in which memories are kept for later epochs and runs; lossless takes "
                 "some 4 MB a document of the default decoder, tiny a sixteenth");
  app.add_option("--distractors", o.distractors,
                 "bm25: among the ten it ranks highest for a question; title: of the same title; "
                 "random: any")
      ->check(CLI::IsMember({"bm25", "title", "random"}));
  app.add_option("--unanswerable", o.examples.unanswerable_share,
                 "share of the readings whose right document is withheld");
  app.add_option("--hard-negatives", o.examples.hard_negatives,
                 "unanswerable questions for each answerable one: of other documents, for which "
                 "BM25 would bring this one");
  app.add_option("--no-answer", o.examples.no_answer, "the answer then");
  app.add_option("--seed", o.examples.seed, "of factors, order and dropout");
  app.add_option("--validate-every", o.trainer.validate_every, "steps; 0 = only at the end");
  app.add_option("--patience", o.trainer.patience,
                 "validations without a better loss before the run ends; 0 = never");
  app.add_option("--checkpoint-every", o.trainer.checkpoint_every, "steps; 0 = only at the end");
  o.settings.add_to(app);
}

learners::Lora make_lora(const TrainReaderOptions& o, const backbone::Decoder& decoder) {
  if (o.from.empty()) {
    return learners::Lora(decoder, o.lora);
  }
  return learners::Lora(
      decoder, learners::load_adapter(o.from, decoder.geometry().layers, decoder.model()).state);
}

int train_reader(TrainReaderOptions& o, const std::vector<std::string>& arguments) {
  o.lora.seed = o.examples.seed;
  o.examples.codecs = static_cast<int64_t>(o.presets.size());
  o.examples.distractors = o.distractors == "bm25"    ? Distractors::bm25
                           : o.distractors == "title" ? Distractors::title
                                                      : Distractors::random;
  if (!o.projections.empty()) {
    o.lora.projections.clear();
    for (const std::string& name : o.projections) {
      o.lora.projections.push_back(backbone::parse_projection(name));
    }
  }
  o.trainer.rate.decay = o.decay == "linear"   ? learners::Decay::linear
                         : o.decay == "cosine" ? learners::Decay::cosine
                                               : learners::Decay::none;
  if (o.optimiser != "adamw") {
    o.trainer.optimiser = learners::OptimiserKind::apollo;
    o.trainer.apollo.seed = o.examples.seed;
  }
  if (o.optimiser == "apollo-mini") {
    o.trainer.apollo.rank = 1;
    o.trainer.apollo.tensor_wise = true;
    o.trainer.apollo.scale = 128;
  }
  o.trainer.directory = o.out + "/training";
  o.trainer.identity = fmt::format("{}", fmt::join(arguments, "\n"));
  o.trainer.stop = &stop_asked;

  const service::Configuration configuration = o.settings.configuration();
  const std::vector<Document> documents = load_documents(o.documents);
  auto questions = sample_questions(load_questions(o.questions, parse_filter(o.where)),
                                    o.examples.seed, o.limit);
  const auto held_back = sample_questions(
      load_questions(o.validation_questions.empty() ? o.questions : o.validation_questions,
                     parse_filter(o.validation_where)),
      o.examples.seed, o.validation_limit);
  // What is held back is not trained on, even where both come from one file.
  std::set<std::string> held_ids;
  for (const QaQuestion& question : held_back) {
    held_ids.insert(question.id);
  }
  std::erase_if(questions, [&](const QaQuestion& q) { return held_ids.count(q.id) > 0; });
  const service::Models models = service::load_decoder_alone(configuration);
  const ReaderExamples training(documents, questions, configuration.prompt,
                                *models.decoder_tokenizer, o.examples);
  ReaderExampleOptions validation_options = o.examples;
  validation_options.rows_per_batch = 512;
  const ReaderExamples validation(documents, held_back, configuration.prompt,
                                  *models.decoder_tokenizer, validation_options);
  std::vector<memory_bank::CodecOptions> codecs;
  for (const std::string& preset : o.presets) {
    codecs.push_back(configuration.codec);
    codecs.back().preset = preset;
  }
  std::optional<MemoryFolder> folder;
  if (!o.memory_cache.empty()) {
    folder.emplace(o.memory_cache, models.basis);
  }
  const ReaderContexts contexts(models, configuration.prompt, codecs, folder ? &*folder : nullptr);
  ReaderTask task(models, configuration.prompt, contexts, training, validation,
                  {.batches = o.trainer.rate.steps * o.trainer.parts,
                   .parts = o.trainer.parts,
                   .dropout = o.dropout,
                   .seed = o.examples.seed,
                   .max_answer_tokens = configuration.answer.max_tokens});
  learners::Lora lora = make_lora(o, *models.decoder);
  fmt::print(stderr, "{} questions over {} documents, {} for validation; {} parameters; {}\n",
             training.questions().size(), training.asked_documents(), validation.questions().size(),
             lora.parameters().numel(), models.decoder->policy().reason);

  catch_signals();
  StepLine line(o.trainer.rate.steps);
  const learners::TrainingOutcome outcome = learners::train(
      lora, task, o.trainer, [&](const learners::TrainingPoint& point) { line.show(point); });
  fmt::print(stderr, "{} after {} steps and {:.0f} s; best validation loss {:.4f} at step {}\n",
             to_string(outcome.end), outcome.steps, outcome.seconds, outcome.best_loss,
             outcome.best_step);
  if (outcome.end == learners::TrainingEnd::interrupted) {
    fmt::print(stderr, "the same command goes on from step {}\n", outcome.steps);
    return 1;
  }
  if (outcome.best_step == 0) {
    throw NumericError("no validation gave a finite loss: no adapter is written");
  }

  learners::AdapterManifest manifest;
  manifest.name = o.name;
  manifest.version = o.version;
  manifest.created = now_utc();
  manifest.command = fmt::format("alluvium train reader {}", fmt::join(arguments, " "));
  manifest.data = fmt::format("{} questions over {} documents", training.questions().size(),
                              training.asked_documents());
  // Measured again: a run that was resumed after its best step no longer has the figures.
  const learners::Validation validation_of_best = task.validate(outcome.best);
  manifest.metrics = validation_of_best.metrics;
  manifest.metrics["validation_loss"] = validation_of_best.loss;
  manifest.metrics["training_seconds"] = outcome.seconds;
  manifest.metrics["steps"] = static_cast<double>(outcome.best_step);
  const ConfidenceFit calibration = task.calibrate(outcome.best);
  write_confidence(calibration, manifest.metrics);
  fmt::print(stderr, "refused: {:.1f} % with the right document, {:.1f} % without it\n",
             calibration.refused_answerable, calibration.refused_unanswerable);
  if (o.examples.unanswerable_share > 0 || o.examples.hard_negatives > 0) {
    manifest.settings["no_answer"] = o.examples.no_answer;
  }
  learners::save_adapter(o.out, outcome.best, manifest);
  fmt::print("{}\n", o.out);
  return outcome.end == learners::TrainingEnd::diverged ? 1 : 0;
}

}  // namespace

int run_train_reader(const std::vector<std::string>& arguments) {
  TrainReaderOptions options;
  options.trainer.rate.warm_up_steps = 20;
  CLI::App app(
      "Train a reader: a low-rank adapter that acts on question and answer tokens only, over "
      "memories made by the bare decoder.",
      "alluvium train reader");
  add_options(app, options);
  if (const auto exit_code = Settings::parse(app, arguments)) {
    return *exit_code;
  }
  return train_reader(options, arguments);
}

}  // namespace alluvium::experiments
