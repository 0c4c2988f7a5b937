// Optimisers over one flat parameter vector.
//
// Source : Adam, Kingma & Ba, ICLR 2015, algorithm 1; decoupled weight decay: Loshchilov & Hutter, ICLR 2019, algorithm 2; clipping by the
//          global norm: Pascanu et al., ICML 2013; linear warm-up, then linear or cosine decay.
// Threads: thread-compatible; owned by the thread that trains.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/safetensors.h"

namespace alluvium::learners {

struct AdamWOptions {
  double beta1 = 0.9;   ///< in [0, 1)
  double beta2 = 0.99;  ///< in [0, 1); runs here are hundreds of steps, not hundreds of thousands
  double epsilon = 1e-8;
  double weight_decay = 0.0;  ///< of every parameter, times the learning rate
};

class AdamW {
 public:
  /// Moments of `parameters` [n], in its dtype on its device.
  AdamW(const at::Tensor& parameters, const AdamWOptions& options);

  /// One step against `gradient` [n], in place on `parameters`.
  void step(at::Tensor& parameters, const at::Tensor& gradient, double learning_rate);

  /// Everything the next step depends on beside the parameters, for a checkpoint.
  backbone::TensorMap state() const;

  /// Takes up a state(). Throws DataCorruption when a tensor is missing or has another size.
  void restore(const backbone::TensorMap& state);

 private:
  AdamWOptions options_;
  at::Tensor first_;
  at::Tensor second_;
  int64_t steps_ = 0;
};

/// Scales `gradient` in place so that its L2 norm is at most `limit`; returns the norm it had (NaN or infinity are returned unscaled).
double clip_norm_(at::Tensor& gradient, double limit);

enum class Decay { linear, cosine, none };

struct LearningRate {
  double highest = 1e-3;
  int64_t warm_up_steps = 0;  ///< the rate grows linearly from 0
  int64_t steps = 1;          ///< the rate has decayed to 0 after these
  Decay decay = Decay::linear;

  /// Rate of step `step`, counted from 0.
  double at(int64_t step) const;
};

}  // namespace alluvium::learners
