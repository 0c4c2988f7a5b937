#include "alluvium/selectors/token_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>

#include "alluvium/core/error.h"

namespace alluvium::selectors {

TokenScores score_tokens(const at::Tensor& logits, const at::Tensor& targets) {
  const at::NoGradGuard no_gradient;
  ALLUVIUM_CHECK(logits.dim() == 2 && targets.dim() == 1 && logits.size(0) == targets.size(0),
                 "logits must be [tokens, vocabulary] and targets [tokens]");
  const at::Tensor wide = logits.to(logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  const at::Tensor log_p = at::log_softmax(wide, 1);
  const at::Tensor p = log_p.exp();
  const at::Tensor log_p_target = log_p.gather(1, targets.unsqueeze(1)).squeeze(1);
  const at::Tensor p_target = log_p_target.exp();
  TokenScores scores;
  scores.nll = -log_p_target;
  // |p - onehot|^2 = |p|^2 - p_a^2 + (1 - p_a)^2: no second [tokens, vocabulary] tensor.
  scores.el2n = ((p * p).sum(1) - p_target.square() + (1 - p_target).square()).clamp_min(0).sqrt();
  scores.entropy = -(p * log_p).sum(1);
  return scores;
}

}  // namespace alluvium::selectors
