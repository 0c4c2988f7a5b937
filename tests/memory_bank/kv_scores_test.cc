#include <vector>

#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include "kv/row_scores.h"
#include "support/catch.h"

namespace alluvium::memory_bank {
namespace {

using Catch::Matchers::WithinAbs;

void check_values(const at::Tensor& tensor, const std::vector<double>& expected) {
  const at::Tensor flat = tensor.flatten();
  REQUIRE(flat.numel() == static_cast<int64_t>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK_THAT(flat[static_cast<int64_t>(i)].item<double>(), WithinAbs(expected[i], 2e-6));
  }
}

}  // namespace

TEST_CASE("scores: the tail's vote by hand", "[memory_bank][kv][observer]") {
  // Two query heads of one KV head, window of the last two of six tokens; the first window token
  // does not see the last.
  constexpr double kUnseen = -1e30;
  const at::Tensor logits = at::tensor({2.0, 0.0, 1.0, 0.0, 0.0, kUnseen,  //
                                        0.0, 0.0, 1.0, 3.0, 0.0, 0.0,      //
                                        0.0, 1.0, 0.0, 0.0, 1.0, kUnseen,  //
                                        0.0, 0.0, 2.0, 0.0, 0.0, 1.0},
                                       at::kFloat)
                                .view({1, 2, 2, 6});
  const at::Tensor weights = at::softmax(logits, -1).narrow(-1, 0, 4);
  check_values(weights.mean(2), {0.300521, 0.056801, 0.154400, 0.412823,  //
                                 0.094708, 0.196544, 0.321153, 0.094708});
  check_values(vote(weights, 3, Pooling::average), {0.108096, 0.187354, 0.206072, 0.163847});
  // The repeat pass's rule on the same weights chooses other rows.
  check_values(weights.amax({1, 2}), {0.563734, 0.322202, 0.523774, 0.749354});
}

TEST_CASE("scores: key differences by hand", "[memory_bank][kv][observer]") {
  const at::Tensor keys =
      at::tensor({1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0}, at::kFloat).view({4, 2});
  check_values(difference_scores(keys), {-0.845862, -0.845862, -0.533402, -0.975287});
}

TEST_CASE("scores: expected attention by hand", "[memory_bank][kv][observer]") {
  const at::Tensor keys = at::tensor({1.0, 0.0, 0.0, 1.0, 1.0, 1.0}, at::kFloat).view({3, 2});
  const at::Tensor mean = at::tensor({1.0, 0.0}, at::kFloat);
  const at::Tensor covariance = at::tensor({0.5, 0.0, 0.0, 2.0}, at::kFloat).view({2, 2});
  const at::Tensor logits = expected_logits(keys, mean, covariance);
  check_values(logits, {0.832107, 0.5, 1.332107});
  check_values(at::softmax(logits, 0), {0.297077, 0.213126, 0.489797});
}

}  // namespace alluvium::memory_bank
