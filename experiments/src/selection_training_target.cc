// One target: equal tokens from each selector's ranking.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/experiments/selection_bench.h"
#include "selection_training.h"

namespace alluvium::experiments {
namespace {

SelectionTask load_pool(const SelectionTrainingOptions& options, const std::string& target,
                        uint64_t seed) {
  SelectionTask task = load_selection_task(options.data, target, TargetRows::report, seed, 0);
  const auto rows = std::min(task.pool.size(), static_cast<std::size_t>(options.pool));
  task.pool.resize(rows);
  task.in_domain.resize(rows);
  return task;
}

// The first rows of a ranking that reach the budget.
int64_t picks_for(const SampleTrainer& trainer, const SelectionTask& task,
                  const std::vector<int64_t>& ranked, int64_t budget_tokens) {
  int64_t tokens = 0;
  int64_t picks = 0;
  while (picks < std::ssize(ranked) && tokens < budget_tokens) {
    tokens += trainer.tokens(
        task.pool[static_cast<std::size_t>(ranked[static_cast<std::size_t>(picks++)])]);
  }
  return picks;
}

}  // namespace

std::vector<Row> train_for_target(const SelectionModels& models,
                                  const SelectionTrainingOptions& options,
                                  const std::string& target, const std::string& name,
                                  uint64_t seed) {
  const SelectionTask task = load_pool(options, target, seed);
  std::vector<selectors::Sample> held_out;
  for (const std::string& text :
       load_selection_task(options.data, target, TargetRows::validation, seed, 0).targets) {
    held_out.push_back({std::to_string(held_out.size()), text, std::ssize(held_out)});
  }
  selectors::SelectorRegistry registry("selector");
  selectors::register_selectors(registry);
  selectors::SelectorOptions selecting;
  selecting.threads = options.threads;
  selecting.seed = seed;
  selecting.length.min_bytes = 0;  // the target's rows are short
  selecting.dsir_min_tokens = 0;
  selecting.embedder = models.embedder;
  if (name == "less") {
    selecting.gradients = selectors::make_decoder_gradient_scorer(models.decoder, models.tokenizer,
                                                                  options.gradients);
  }
  const SampleTrainer counter(models.decoder, models.tokenizer, options.trainer, seed);
  std::vector<int64_t> budgets = options.budget_tokens;
  std::sort(budgets.begin(), budgets.end());
  std::vector<Row> rows;
  if (name == "none") {
    rows.push_back({{"target", target},
                    {"selector", name},
                    {"seed", seed},
                    {"budget_tokens", 0},
                    {"picks", 0},
                    {"tokens", 0},
                    {"in_domain", 0.0},
                    {"nll", counter.measure(held_out).nll},
                    {"selection_s", 0.0},
                    {"training_s", 0.0}});
    return rows;
  }
  for (const int64_t budget : budgets) {
    if (name == "length_matched_random") {
      // As many as ZIP-FIT picks for this budget, with their lengths.
      const auto zip_fit = registry.make("zip_fit", selecting);
      const SelectionMeasure picked = measure_selector(*zip_fit, task, std::ssize(task.pool) / 6);
      selecting.picks = picks_for(counter, task, picked.ranked, budget);
    }
    const auto selector = registry.make(name, selecting);
    // ZIP-FIT's second stage needs to know how many are wanted; a sixth of the pool makes that all of it.
    const SelectionMeasure picked =
        measure_selector(*selector, task, std::max<int64_t>(1, std::ssize(task.pool) / 6));
    const int64_t picks = picks_for(counter, task, picked.ranked, budget);
    std::vector<selectors::Sample> chosen;
    double in_domain = 0;
    for (int64_t i = 0; i < picks; ++i) {
      const auto row = static_cast<std::size_t>(picked.ranked[static_cast<std::size_t>(i)]);
      chosen.push_back(task.pool[row]);
      in_domain += task.in_domain[row] ? 1.0 / static_cast<double>(picks) : 0;
    }
    SampleTrainer trainer(models.decoder, models.tokenizer, options.trainer, seed);
    const TrainedOn trained = trainer.train(chosen, budget, seed);
    rows.push_back({{"target", target},
                    {"selector", name},
                    {"seed", seed},
                    {"budget_tokens", budget},
                    {"picks", picks},
                    {"tokens", trained.tokens},
                    {"in_domain", in_domain},
                    {"nll", trainer.measure(held_out).nll},
                    {"selection_s", picked.seconds},
                    {"training_s", trained.seconds}});
  }
  return rows;
}

}  // namespace alluvium::experiments
