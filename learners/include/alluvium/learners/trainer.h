// The training loop of every adapter: steps, validation, checkpoints, curves.
//
// Purpose: what to learn is a TrainingTask; everything else about a run is here. A run that was interrupted and resumed gives the same
//          bytes as one that was not, because a task's loss depends on nothing but the parameters and the step's number.
// Source : gradient accumulation, clipping and early stopping as usual; optimiser.h names its own sources.
// Threads: train() uses the caller's thread and ATen's intra-operator threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/learners/lora.h"
#include "alluvium/learners/optimiser.h"

namespace alluvium::learners {

struct Validation {
  double loss = 0;  ///< what early stopping and the choice of the best step go by; lower is better
  std::map<std::string, double> metrics;  ///< for people: "f1", "em", …
};

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;

  /// The mean loss of micro-batch `part` of step `step`, differentiable in the adapter. Must depend on its arguments only.
  virtual at::Tensor loss(const backbone::AdapterState& adapter, int64_t step, int64_t part) = 0;

  /// Measures on held-back samples, without gradient. Must depend on its argument only.
  virtual Validation validate(const backbone::AdapterState& adapter) = 0;
};

enum class OptimiserKind { adam_w, apollo };

struct TrainerOptions {
  LearningRate rate;  ///< its `steps` is the length of the run; at least 1
  OptimiserKind optimiser = OptimiserKind::adam_w;
  AdamWOptions adam_w;           ///< of both optimisers
  ApolloOptions apollo;          ///< of Apollo alone
  int64_t parts = 1;             ///< micro-batches a step, whose gradients are averaged; at least 1
  double clip_norm = 1.0;        ///< L2 norm of a step's gradient at most; positive
  int64_t validate_every = 100;  ///< steps; 0 = only at the end
  int64_t patience = 0;  ///< validations without a better loss before the run stops; 0 = never
  int64_t checkpoint_every = 50;  ///< steps; 0 = only at the end
  /// What a run is apart from its parameters: task, data, options. A checkpoint of another is refused
  std::string identity;
  /// checkpoint.safetensors, curve.csv and curve.svg are kept here; empty = nowhere
  std::string directory;
  /// When it becomes true the run writes a checkpoint and ends; may be null
  const std::atomic<bool>* stop = nullptr;
};

struct TrainingPoint {
  int64_t step = 0;  ///< steps done
  double seconds = 0;
  double loss = 0;
  double gradient_norm = 0;
  double learning_rate = 0;
  std::optional<Validation> validation;
};

enum class TrainingEnd { finished, stopped_early, interrupted, diverged };

const char* to_string(TrainingEnd end);

struct TrainingOutcome {
  TrainingEnd end = TrainingEnd::finished;
  int64_t steps = 0;            ///< done in all, resumed ones included
  double seconds = 0;           ///< of training, resumed parts included
  int64_t best_step = 0;        ///< of `best`; 0 when no validation gave a finite loss
  double best_loss = 0;         ///< infinity when best_step is 0
  backbone::AdapterState best;  ///< the factors with the lowest validation loss
};

/// Trains `lora` in place; goes on from the checkpoint in options.directory when there is one. `on_point` is called after each step.
/// A loss or gradient that is not finite ends the run as `diverged` with the last good factors in `lora` and the best ones in the
/// outcome. Throws InvalidArgument on options outside their bounds or a checkpoint of another identity,
/// DataCorruption on one of another shape.
TrainingOutcome train(Lora& lora, TrainingTask& task, const TrainerOptions& options,
                      const std::function<void(const TrainingPoint&)>& on_point = nullptr);

}  // namespace alluvium::learners
