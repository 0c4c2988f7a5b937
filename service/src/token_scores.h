// Log-probabilities of given tokens.
//
// Threads: pure functions.
#pragma once

#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/tokenizer.h"

namespace alluvium::service {

/// ln p of tokens[i] by logits row i; logits: float32 [tokens, vocabulary].
std::vector<double> token_log_probabilities(const at::Tensor& logits,
                                            std::span<const backbone::TokenId> tokens);

}  // namespace alluvium::service
