// What picks are worth: an adapter trained on them, measured on held-out rows.
//
// Purpose: the two experiments of `alluvium bench selection-training`. Each call is one unit, complete by itself, so that a run goes on after the
//          last finished one.
// Threads: owned by the caller's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alluvium/selectors/decoder_gradient_scorer.h"
#include "alluvium/selectors/text_embedder.h"
#include "report.h"
#include "sample_trainer.h"

namespace alluvium::experiments {

struct SelectionTrainingOptions {
  std::string data = "../shared/data";
  int64_t threads = 1;
  SampleTrainerOptions trainer;

  // one target
  std::vector<std::string> targets = {"mbpp"};
  std::vector<std::string> selectors = {
      "zip_fit", "length_matched_random", "random", "bm25", "dsir", "embedding"};
  std::vector<int64_t> budget_tokens = {2000};
  int64_t pool = 3000;  ///< rows

  // a sequence of tasks
  std::vector<std::string> arms = {"sequential", "random", "adapt_inf", "full"};
  std::vector<double> shares = {5, 10, 25};  ///< percent of everything that came, a step
  int64_t rows_per_task = 200;
  int64_t held_out = 30;
  int64_t passage_bytes = 400;
  int64_t clusters = 5;
  selectors::GradientScorerOptions gradients;
};

struct SelectionModels {
  std::shared_ptr<const backbone::Decoder> decoder;
  std::shared_ptr<const backbone::Tokenizer> tokenizer;
  std::shared_ptr<const selectors::TextEmbedder> embedder;  ///< null when nothing asks for it
};

/// Every budget on one selector's ranking of one target's pool; "none" trains nothing. Rows: target, selector, seed, budget_tokens, picks,
/// tokens, in_domain, nll, selection_s, training_s.
std::vector<Row> train_for_target(const SelectionModels& models,
                                  const SelectionTrainingOptions& options,
                                  const std::string& target, const std::string& selector,
                                  uint64_t seed);

/// One arm over the five tasks. Rows: arm, share, seed, step, trained, tokens, pool, selection_s, training_s, and for each task that
/// has come nll_<task> and accuracy_<task> after the step.
std::vector<Row> train_sequence(const SelectionModels& models,
                                const SelectionTrainingOptions& options, const std::string& arm,
                                double share, uint64_t seed);

/// By arm and share, the mean over seeds with the range: relative gain and forgetting of the likelihood score 100 exp(-nll), accuracy, seconds.
/// 100 % of a task's gain is the best score that sequential training on all its rows had at any step, of the same seed.
std::vector<Row> summarise_sequence(const std::vector<Row>& rows);

/// By target, budget and selector, over seeds; the difference to length_matched_random with its 95 % interval (Student's t over the seeds).
std::vector<Row> summarise_target(const std::vector<Row>& rows);

}  // namespace alluvium::experiments
