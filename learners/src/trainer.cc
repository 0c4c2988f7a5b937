#include "alluvium/learners/trainer.h"

#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "curve_file.h"

namespace alluvium::learners {
namespace {

constexpr const char* kParameters = "parameters";
constexpr const char* kBest = "best.parameters";
constexpr const char* kProgress = "progress";
constexpr const char* kIdentity = "identity";

// What a run knows beside parameters and optimiser.
struct Progress {
  int64_t steps = 0;
  int64_t best_step = 0;
  int64_t validations_since_best = 0;
  double best_loss = std::numeric_limits<double>::infinity();
};

void check(const TrainerOptions& options) {
  ALLUVIUM_CHECK(options.rate.steps >= 1, "steps must be positive, got {}", options.rate.steps);
  ALLUVIUM_CHECK(options.rate.highest > 0 && std::isfinite(options.rate.highest),
                 "the learning rate must be positive and finite, got {}", options.rate.highest);
  ALLUVIUM_CHECK(options.parts >= 1, "parts must be positive, got {}", options.parts);
  ALLUVIUM_CHECK(options.clip_norm > 0, "clip_norm must be positive, got {}", options.clip_norm);
  ALLUVIUM_CHECK(
      options.validate_every >= 0 && options.checkpoint_every >= 0 && options.patience >= 0,
      "validate_every, checkpoint_every and patience must not be negative");
}

// The SHA-256 of a run's identity, as numbers a checkpoint can hold.
at::Tensor identity_tensor(const std::string& identity) {
  const Digest digest = sha256(identity);
  return at::tensor(std::vector<int64_t>(digest.begin(), digest.end()), at::kLong);
}

std::unique_ptr<Optimiser> make_optimiser(const Lora& lora, const TrainerOptions& options) {
  if (options.optimiser == OptimiserKind::apollo) {
    return std::make_unique<Apollo>(lora.parameters(), lora.matrices(), options.adam_w,
                                    options.apollo);
  }
  return std::make_unique<AdamW>(lora.parameters(), options.adam_w);
}

class Run {
 public:
  Run(Lora& lora, TrainingTask& task, const TrainerOptions& options)
      : lora_(lora),
        task_(task),
        options_(options),
        optimiser_(make_optimiser(lora, options)),
        best_(lora.parameters().clone()) {
    if (!options_.directory.empty()) {
      std::filesystem::create_directories(options_.directory);
      restore();
    }
    curve_.emplace(options_.directory, progress_.steps);
    seconds_before_ = curve_->seconds();
  }

  TrainingOutcome go(const std::function<void(const TrainingPoint&)>& on_point) {
    TrainingOutcome outcome;
    outcome.end = TrainingEnd::finished;
    while (progress_.steps < options_.rate.steps) {
      if (options_.patience > 0 && progress_.validations_since_best >= options_.patience) {
        outcome.end = TrainingEnd::stopped_early;
        break;
      }
      if (options_.stop != nullptr && options_.stop->load()) {
        outcome.end = TrainingEnd::interrupted;
        break;
      }
      std::optional<TrainingPoint> point = step();
      if (!point) {
        outcome.end = TrainingEnd::diverged;
        break;
      }
      if (is_due(options_.validate_every)) {
        point->validation = validate();
      }
      point->seconds = seconds_before_ + watch_.elapsed_ms() / 1e3;
      curve_->add(*point);
      if (on_point) {
        on_point(*point);
      }
      if (is_due(options_.checkpoint_every)) {
        checkpoint();
      }
    }
    checkpoint();
    outcome.steps = progress_.steps;
    outcome.best_step = progress_.best_step;
    outcome.best_loss = progress_.best_loss;
    outcome.seconds = curve_->seconds();
    const at::NoGradGuard no_gradient;
    const at::Tensor last = lora_.parameters().clone();
    lora_.parameters().copy_(progress_.best_step > 0 ? best_ : last);
    outcome.best = lora_.copy();
    lora_.parameters().copy_(last);
    return outcome;
  }

 private:
  // Nothing when loss or gradient are not finite; the parameters are then as before the step.
  std::optional<TrainingPoint> step() {
    TrainingPoint point;
    lora_.zero_gradient();
    for (int64_t part = 0; part < options_.parts; ++part) {
      const at::AutoGradMode gradient(true);
      const at::Tensor loss = task_.loss(lora_.state(), progress_.steps, part);
      (loss / static_cast<double>(options_.parts)).backward();
      point.loss += loss.item<double>() / static_cast<double>(options_.parts);
    }
    const at::NoGradGuard no_gradient;
    point.gradient_norm = clip_norm_(lora_.gradient(), options_.clip_norm);
    if (!std::isfinite(point.loss) || !std::isfinite(point.gradient_norm)) {
      return std::nullopt;
    }
    point.learning_rate = options_.rate.at(progress_.steps);
    optimiser_->step(lora_.parameters(), lora_.gradient(), point.learning_rate);
    point.step = ++progress_.steps;
    return point;
  }

  // A run's last step is always validated.
  bool is_due(int64_t every) const {
    return progress_.steps == options_.rate.steps || (every > 0 && progress_.steps % every == 0);
  }

  Validation validate() {
    const at::NoGradGuard no_gradient;
    Validation validation = task_.validate(lora_.state());
    ++progress_.validations_since_best;
    if (validation.loss < progress_.best_loss) {
      progress_.best_loss = validation.loss;
      progress_.best_step = progress_.steps;
      progress_.validations_since_best = 0;
      best_.copy_(lora_.parameters());
    }
    return validation;
  }

  std::string path() const { return options_.directory + "/checkpoint.safetensors"; }

  void checkpoint() const {
    if (options_.directory.empty()) {
      return;
    }
    backbone::TensorMap state = optimiser_->state();
    state[kParameters] = lora_.parameters();
    state[kBest] = best_;
    state[kIdentity] = identity_tensor(options_.identity);
    state[kProgress] =
        at::tensor({progress_.steps, progress_.best_step, progress_.validations_since_best,
                    std::bit_cast<int64_t>(progress_.best_loss)},
                   at::kLong);
    // The curve first: lines past the checkpoint's step are dropped on resume, missing ones could not be made.
    curve_->write();
    backbone::write_safetensors(path(), state);
  }

  void restore() {
    if (!std::filesystem::exists(path())) {
      return;
    }
    const backbone::TensorMap state = backbone::load_safetensors(path());
    const auto find = [&](const char* name, int64_t numbers) {
      const auto found = state.find(name);
      if (found == state.end() || found->second.numel() != numbers) {
        throw DataCorruption(
            fmt::format("'{}' does not belong to this run: '{}' is missing or not of {} numbers",
                        path(), name, numbers));
      }
      return found->second;
    };
    ALLUVIUM_CHECK(at::equal(find(kIdentity, static_cast<int64_t>(Digest{}.size())),
                             identity_tensor(options_.identity)),
                   "'{}' is of a run with other options or data: repeat its command to go on, or "
                   "choose another directory",
                   path());
    const at::NoGradGuard no_gradient;
    const int64_t n = lora_.parameters().numel();
    const at::Tensor parameters = find(kParameters, n);
    const at::Tensor best = find(kBest, n);
    const auto* progress = find(kProgress, 4).const_data_ptr<int64_t>();
    optimiser_->restore(state);
    lora_.parameters().copy_(parameters);
    best_.copy_(best);
    progress_ = {.steps = progress[0],
                 .best_step = progress[1],
                 .validations_since_best = progress[2],
                 .best_loss = std::bit_cast<double>(progress[3])};
  }

  Lora& lora_;
  TrainingTask& task_;
  const TrainerOptions& options_;
  const std::unique_ptr<Optimiser> optimiser_;
  at::Tensor best_;
  Progress progress_;
  std::optional<CurveFile> curve_;
  double seconds_before_ = 0;
  Stopwatch watch_;
};

}  // namespace

const char* to_string(TrainingEnd end) {
  switch (end) {
    case TrainingEnd::finished:
      return "finished";
    case TrainingEnd::stopped_early:
      return "stopped early";
    case TrainingEnd::interrupted:
      return "interrupted";
    case TrainingEnd::diverged:
      return "diverged";
  }
  return "unknown";
}

TrainingOutcome train(Lora& lora, TrainingTask& task, const TrainerOptions& options,
                      const std::function<void(const TrainingPoint&)>& on_point) {
  check(options);
  return Run(lora, task, options).go(on_point);
}

}  // namespace alluvium::learners
