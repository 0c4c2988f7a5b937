#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include "kv/budget.h"
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

/// The better half of the rows of one KV head: scores [1, n].
std::vector<int64_t> better_half(const at::Tensor& scores) {
  const KeptRows kept = choose_rows(
      scores.unsqueeze(0), {.budget = "uniform", .keep = 0.5, .floor_rows = 0, .keep_mask = {}});
  const auto* position = kept.positions.const_data_ptr<int64_t>();
  return {position, position + kept.positions.numel()};
}

// Two query heads of one KV head, window of the last two of six tokens; the first window token does
// not see the last. Weights of the four tokens before the window: [1, 2, 2, 4].
at::Tensor window_weights() {
  constexpr double kUnseen = -1e30;
  const at::Tensor logits = at::tensor({2.0, 0.0, 1.0, 0.0, 0.0, kUnseen,  //
                                        0.0, 0.0, 1.0, 3.0, 0.0, 0.0,      //
                                        0.0, 1.0, 0.0, 0.0, 1.0, kUnseen,  //
                                        0.0, 0.0, 2.0, 0.0, 0.0, 1.0},
                                       at::kFloat)
                                .view({1, 2, 2, 6});
  return at::softmax(logits, -1).narrow(-1, 0, 4);
}

}  // namespace

TEST_CASE("scores: the tail's vote by hand", "[memory_bank][kv][observer]") {
  const at::Tensor weights = window_weights();
  check_values(weights.mean(2), {0.300521, 0.056801, 0.154400, 0.412823,  //
                                 0.094708, 0.196544, 0.321153, 0.094708});
  // Each query head as a KV head of its own: pooled, and nothing to average over.
  check_values(vote(weights.view({2, 1, 2, 4}), 3, Pooling::average),
               {0.119107, 0.170574, 0.208008, 0.189074,  //
                0.097084, 0.204135, 0.204135, 0.138620});
  check_values(vote(weights, 3, Pooling::average), {0.108096, 0.187354, 0.206072, 0.163847});
}

TEST_CASE("scores: the tail's vote and the repeat pass's highest weight choose different rows",
          "[memory_bank][kv][observer]") {
  const at::Tensor weights = window_weights();
  const at::Tensor highest = weights.amax({1, 2});
  check_values(highest, {0.563734, 0.322202, 0.523774, 0.749354});
  CHECK(better_half(vote(weights, 3, Pooling::average)) == std::vector<int64_t>{1, 2});
  CHECK(better_half(highest) == std::vector<int64_t>{0, 3});
}

// kv_memory.md, vector V10: causal rows (1), (.7, .3), (.5, .3, .2), (.4, .1, .3, .2), of which the
// second and the last are probes. Both see the first two rows, the last alone the others. By n - j
// the scores would be (.275, .133333, .15, .2): the last row is lifted over the second and third.
TEST_CASE("scores: a row's saliency is its mass over the probes that can see it",
          "[memory_bank][kv][observer]") {
  const at::Tensor weights =
      at::tensor({0.7, 0.3, 0.0, 0.0, 0.4, 0.1, 0.3, 0.2}, at::kFloat).view({1, 1, 2, 4});
  const at::Tensor probes = at::tensor({1, 3}, at::kLong);
  check_values(probe_saliency(weights, probes), {0.55, 0.2, 0.3, 0.2});
  // Query heads of a group are averaged.
  check_values(probe_saliency(at::cat({weights, weights.mul(3)}, 1), probes), {1.1, 0.4, 0.6, 0.4});
  // A row that no probe can see has received nothing.
  check_values(probe_saliency(weights.narrow(2, 0, 1), probes.narrow(0, 0, 1)), {0.7, 0.3, 0, 0});
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
