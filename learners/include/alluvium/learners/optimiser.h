// Optimisers over one flat parameter vector.
//
// Source : Adam, Kingma & Ba, ICLR 2015, algorithm 1; decoupled weight decay: Loshchilov & Hutter, ICLR 2019, algorithm 2; APOLLO, Zhu et
//          al., MLSys 2025, algorithm 1; clipping by the global norm: Pascanu et al., ICML 2013; linear warm-up, then linear or cosine
//          decay.
// Threads: thread-compatible; owned by the thread that trains.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/safetensors.h"

namespace alluvium::learners {

class Optimiser {
 public:
  virtual ~Optimiser() = default;

  /// One step against `gradient` [n], in place on `parameters`.
  virtual void step(at::Tensor& parameters, const at::Tensor& gradient, double learning_rate) = 0;

  /// Everything the next step depends on beside the parameters, for a checkpoint.
  virtual backbone::TensorMap state() const = 0;

  /// Takes up a state(). Throws DataCorruption when a tensor is missing or has another size.
  virtual void restore(const backbone::TensorMap& state) = 0;
};

struct AdamWOptions {
  double beta1 = 0.9;   ///< in [0, 1)
  double beta2 = 0.99;  ///< in [0, 1); runs here are hundreds of steps, not hundreds of thousands
  double epsilon = 1e-8;
  double weight_decay = 0.0;  ///< of every parameter, times the learning rate
};

class AdamW final : public Optimiser {
 public:
  /// Moments of `parameters` [n], in its dtype on its device: 2 n numbers. Throws InvalidArgument on options outside their bounds.
  AdamW(const at::Tensor& parameters, const AdamWOptions& options);

  void step(at::Tensor& parameters, const at::Tensor& gradient, double learning_rate) override;
  backbone::TensorMap state() const override;
  void restore(const backbone::TensorMap& state) override;

 private:
  AdamWOptions options_;
  at::Tensor first_;
  at::Tensor second_;
  int64_t steps_ = 0;
};

/// A row-major matrix within a flat vector.
struct MatrixSpan {
  int64_t begin = 0;
  int64_t rows = 0;
  int64_t columns = 0;
};

/// The defaults are APOLLO; rank 1, tensor_wise and scale 128 are its Mini.
struct ApolloOptions {
  int64_t rank = 4;          ///< of the space in which moments are kept; at least 1
  bool tensor_wise = false;  ///< one factor for a whole matrix instead of one for each channel
  double scale = 1;          ///< a step is multiplied by its root; positive
  int64_t refresh = 200;     ///< steps after which another projection is drawn; at least 1
  /// A matrix's step is at most so many times as long as its last one (the paper's norm-growth limiter); at least 1
  double growth_limit = 1.01;
  uint64_t seed = 0;  ///< of the projections
};

/// Adam's step size for every channel, learned from a random projection of the gradient to a few dimensions. A matrix of m by n, m the
/// smaller, takes 2 rank n numbers where AdamW takes 2 m n.
class Apollo final : public Optimiser {
 public:
  /// `matrices` cover `parameters` [n], in order. Betas, epsilon and weight decay are those of `adam_w`. Throws InvalidArgument on options
  /// outside their bounds.
  Apollo(const at::Tensor& parameters, std::vector<MatrixSpan> matrices, const AdamWOptions& adam_w,
         const ApolloOptions& options);

  void step(at::Tensor& parameters, const at::Tensor& gradient, double learning_rate) override;
  backbone::TensorMap state() const override;
  void restore(const backbone::TensorMap& state) override;

 private:
  AdamWOptions adam_w_;
  ApolloOptions options_;
  std::vector<MatrixSpan> matrices_;
  std::vector<int64_t> begins_;  // of each matrix's moments
  at::Tensor first_;
  at::Tensor second_;
  at::Tensor lengths_;  // float32 [matrices]: L2 norm of the last step, 0 before the first
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
