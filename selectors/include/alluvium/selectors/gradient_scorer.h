// What a model says about a sample: scores of its answer's tokens, and a sketch of the gradient it would give.
//
// Purpose: the one door through which adapt_inf and less see a model; decoder_gradient_scorer.h is the frozen decoder behind it.
// Source : scores: Adapt-inf (Maharana et al., ICLR 2025); EL2N and GraNd: Paul, Ganguli, Dziugaite, NeurIPS 2021.
// Threads: a scorer is owned by one thread.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/selectors/selector.h"

namespace alluvium::selectors {

/// A score that may say which samples of a cluster to take. All are means over the answer's tokens, in nats where they are likelihoods.
enum class Expert {
  nll,      ///< -ln p of the answer's tokens: ln of the perplexity
  el2n,     ///< length of p - onehot, in [0, sqrt 2)
  entropy,  ///< of the predicted distribution
  grand,    ///< length of the gradient, estimated by its sketch
  dg_ctx,   ///< nll without the document - nll with it
  dg_self,  ///< of plain text: nll of its second half alone - nll given the first
  dg_mem,   ///< nll without a memory - nll over the one that the bank brings for the prompt
};

constexpr std::size_t kExperts = 7;
constexpr std::array<Expert, kExperts> kAllExperts = {
    Expert::nll,    Expert::el2n,    Expert::entropy, Expert::grand,
    Expert::dg_ctx, Expert::dg_self, Expert::dg_mem};

const char* to_string(Expert expert);

struct ScoredSample {
  /// Why the sample cannot be learned from (no answer, gradient not finite, …); the rest is then empty. Never scored as 0 instead.
  std::string excluded;
  int64_t answer_tokens = 0;
  /// By Expert; NaN where a sample has no such score (no document, no plain text, no memory)
  std::array<double, kExperts> scores = {kNone, kNone, kNone, kNone, kNone, kNone, kNone};
  std::vector<float> sketch;  ///< [dimension], not normalised

  double score(Expert expert) const { return scores[static_cast<std::size_t>(expert)]; }
  double& score(Expert expert) { return scores[static_cast<std::size_t>(expert)]; }

 private:
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
};

class GradientScorer {
 public:
  virtual ~GradientScorer() = default;

  /// Model, adapter, layer, dimension: sketches of two labels are never compared.
  virtual std::string label() const = 0;
  virtual int64_t dimension() const = 0;

  /// One outcome a sample, in order; independent of what is scored beside it, up to rounding.
  virtual std::vector<ScoredSample> score(std::span<const Sample> samples) = 0;
};

}  // namespace alluvium::selectors
