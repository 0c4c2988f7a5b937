#include "token_scores.h"

#include <ATen/ops/gather.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tensor.h>

namespace alluvium::service {

std::vector<double> token_log_probabilities(const at::Tensor& logits,
                                            std::span<const backbone::TokenId> tokens) {
  if (tokens.empty()) {
    return {};
  }
  const std::vector<int64_t> wanted(tokens.begin(), tokens.end());
  const at::Tensor index = at::tensor(wanted).unsqueeze(1).to(logits.device());
  const at::Tensor scores =
      at::sub(at::gather(logits, 1, index).squeeze(1), at::logsumexp(logits, 1)).cpu().contiguous();
  const auto* values = scores.const_data_ptr<float>();
  return {values, values + tokens.size()};
}

}  // namespace alluvium::service
