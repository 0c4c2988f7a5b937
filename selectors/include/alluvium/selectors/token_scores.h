// Scores of predicted distributions against the tokens that came.
//
// Source : Adapt-inf (Maharana et al., ICLR 2025), section on scoring experts; EL2N: Paul et al., NeurIPS 2021.
// Differs: perplexity is exp of the mean -ln p, as the paper says; its code averages exp(-ln p) token by token. Entropy is taken over the
//          answer's tokens, not over prompt and padding.
// Threads: pure function.
#pragma once

#include <ATen/core/Tensor.h>

namespace alluvium::selectors {

struct TokenScores {
  at::Tensor nll;      ///< float32 [tokens]
  at::Tensor el2n;     ///< float32 [tokens]
  at::Tensor entropy;  ///< float32 [tokens], nats
};

/// logits: [tokens, vocabulary] float32 or float64; targets: int64 [tokens] on the same device. Records no gradient. Throws InvalidArgument
/// on other shapes.
TokenScores score_tokens(const at::Tensor& logits, const at::Tensor& targets);

}  // namespace alluvium::selectors
