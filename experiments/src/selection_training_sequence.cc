// Five tasks, one after another: what each way to choose learns and keeps.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/selectors/adapt_inf.h"
#include "selection_training.h"
#include "text_tasks.h"

namespace alluvium::experiments {
namespace {

using selectors::Sample;

constexpr int64_t kScoredAtOnce = 64;

// Picks of one step, given everything that has come.
class Arm {
 public:
  virtual ~Arm() = default;
  virtual std::vector<Sample> choose(const std::vector<Sample>& arrived, int64_t budget,
                                     const SampleTrainer& trainer) = 0;
  virtual void after_training() {}
};

class SequentialArm final : public Arm {
 public:
  std::vector<Sample> choose(const std::vector<Sample>& arrived, int64_t,
                             const SampleTrainer&) override {
    return arrived;
  }
};

class PoolArm : public Arm {
 public:
  std::vector<Sample> choose(const std::vector<Sample>& arrived, int64_t budget,
                             const SampleTrainer&) override {
    pool_.insert(pool_.end(), arrived.begin(), arrived.end());
    std::vector<Sample> order = pool_;
    random_.shuffle(order);
    order.resize(std::min(order.size(), static_cast<std::size_t>(budget)));
    return order;
  }

  explicit PoolArm(uint64_t seed) : random_(seed) {}

 private:
  Random random_;
  std::vector<Sample> pool_;
};

class AdaptInfArm final : public Arm {
 public:
  AdaptInfArm(const SelectionModels& models, const SelectionTrainingOptions& options, uint64_t seed)
      : models_(models),
        options_(options),
        scorer_(make_scorer(nullptr)),
        rounds_({.clusters = options.clusters, .seed = seed}, *scorer_, models.embedder.get()) {}

  std::vector<Sample> choose(const std::vector<Sample>& arrived, int64_t budget,
                             const SampleTrainer& trainer) override {
    auto scorer = make_scorer(&trainer.adapter());
    rounds_.set_scorer(*scorer);
    scorer_ = std::move(scorer);
    rounds_.add(arrived);
    rounds_.begin_round();
    while (rounds_.score_next(kScoredAtOnce) > 0) {
    }
    std::vector<Sample> chosen;
    for (const selectors::Pick& pick : rounds_.finish_round(budget).picks) {
      chosen.push_back(*rounds_.find(pick.id));
    }
    return chosen;
  }

  void after_training() override { rounds_.prune(); }

 private:
  std::unique_ptr<selectors::GradientScorer> make_scorer(
      const backbone::AdapterState* adapter) const {
    return selectors::make_decoder_gradient_scorer(models_.decoder, models_.tokenizer,
                                                   options_.gradients, adapter);
  }

  const SelectionModels& models_;
  const SelectionTrainingOptions& options_;
  std::unique_ptr<selectors::GradientScorer> scorer_;
  selectors::AdaptInf rounds_;
};

std::unique_ptr<Arm> make_arm(const std::string& name, const SelectionModels& models,
                              const SelectionTrainingOptions& options, uint64_t seed) {
  if (name == "sequential") {
    return std::make_unique<SequentialArm>();
  }
  if (name == "random" || name == "full") {
    return std::make_unique<PoolArm>(seed);
  }
  ALLUVIUM_CHECK(name == "adapt_inf", "arm must be sequential, random, adapt_inf or full, got '{}'",
                 name);
  return std::make_unique<AdaptInfArm>(models, options, seed);
}

}  // namespace

std::vector<Row> train_sequence(const SelectionModels& models,
                                const SelectionTrainingOptions& options, const std::string& arm,
                                double share, uint64_t seed) {
  const std::vector<TextTask> tasks = load_text_tasks(
      options.data, options.rows_per_task, options.held_out, options.passage_bytes, seed);
  const std::unique_ptr<Arm> chooser = make_arm(arm, models, options, seed);
  SampleTrainer trainer(models.decoder, models.tokenizer, options.trainer, seed);
  std::vector<Row> rows;
  int64_t arrived = 0;
  for (std::size_t step = 0; step < tasks.size(); ++step) {
    arrived += std::ssize(tasks[step].training);
    const auto budget = std::max<int64_t>(
        1, static_cast<int64_t>(std::lround(share / 100 * static_cast<double>(arrived))));
    const Stopwatch watch;
    const std::vector<Sample> chosen = chooser->choose(tasks[step].training, budget, trainer);
    double selection_s = watch.elapsed_ms() / 1e3;
    const TrainedOn trained = trainer.train(chosen, 0, seed * 100 + step);
    const Stopwatch after;
    chooser->after_training();
    selection_s += after.elapsed_ms() / 1e3;
    Row row = {{"arm", arm},
               {"share", share},
               {"seed", seed},
               {"step", step + 1},
               {"trained", trained.samples},
               {"tokens", trained.tokens},
               {"pool", arrived},
               {"selection_s", selection_s},
               {"training_s", trained.seconds}};
    for (std::size_t t = 0; t <= step; ++t) {
      const HeldOut held_out = trainer.measure(tasks[t].held_out);
      row["nll_" + tasks[t].name] = held_out.nll;
      row["accuracy_" + tasks[t].name] = held_out.accuracy;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace alluvium::experiments
