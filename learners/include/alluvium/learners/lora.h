// The trainable low-rank factors of an adapter.
//
// Purpose: makes the factors a learner changes, all in one flat vector, so that optimisers, clipping and checkpoints see one tensor while
//          the decoder sees an AdapterState whose tensors are views of it.
// Source : LoRA, Hu et al., ICLR 2022, section 4.1: A random, B zero, y += alpha / r B A x; initialisation of A as in the PEFT library
//          (uniform, He et al. 2015 with a = sqrt 5: bound 1 / sqrt(in)); rank-stabilised scale alpha / sqrt r: Kalajdzievski, 2023.
// Threads: thread-compatible; owned by the thread that trains.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/adapter.h"
#include "alluvium/backbone/decoder.h"
#include "alluvium/learners/optimiser.h"

namespace alluvium::learners {

struct LoraOptions {
  int64_t rank = 16;             ///< of every chosen projection, in [1, 256]
  double alpha = 32;             ///< positive
  bool rank_stabilised = false;  ///< scale alpha / sqrt(rank) instead of alpha / rank
  /// At least one, none twice.
  std::vector<backbone::Projection> projections{backbone::kAllProjections.begin(),
                                                backbone::kAllProjections.end()};
  uint64_t seed = 0;  ///< of A

  double scale() const;
};

class Lora {
 public:
  /// New factors for `decoder`, float32 on the CPU of a CPU decoder or on its GPU (float64 for a float64 decoder). Throws InvalidArgument
  /// on options outside their bounds.
  Lora(const backbone::Decoder& decoder, const LoraOptions& options);

  /// The factors of an adapter, to train them further. Throws InvalidArgument when it belongs to another model or does not fit.
  Lora(const backbone::Decoder& decoder, const backbone::AdapterState& start);

  /// Views of parameters() that require a gradient; their gradients are views of gradient().
  const backbone::AdapterState& state() const { return state_; }

  /// All factors, [n]. Optimisers change it in place, outside of gradient recording.
  at::Tensor& parameters() { return parameters_; }
  const at::Tensor& parameters() const { return parameters_; }

  /// The factors within parameters().
  const std::vector<MatrixSpan>& matrices() const { return matrices_; }

  /// What backward passes have added up since zero_gradient(), [n].
  at::Tensor& gradient() { return gradient_; }
  void zero_gradient();

  /// A copy of the present factors that later training does not change.
  backbone::AdapterState copy() const;

 private:
  void bind(const std::vector<backbone::LayerFactors>& start);

  backbone::AdapterState state_;
  at::Tensor parameters_;
  at::Tensor gradient_;
  std::vector<MatrixSpan> matrices_;
};

}  // namespace alluvium::learners
