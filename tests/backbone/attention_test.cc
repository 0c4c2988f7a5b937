#include "attention.h"

#include <cmath>

#include <ATen/ATen.h>

#include "row_kernels.h"
#include "support/catch.h"

namespace alluvium::backbone {
namespace {

// One query whose logits over the slots are exactly those given: head_dim 1, scale 1, keys = logits, query = 1.
double attend_logits(const std::vector<float>& logits, const std::vector<float>& values,
                     AttentionView view) {
  const auto slots = static_cast<int64_t>(logits.size());
  view.slots_before = slots - 1;
  const auto options = at::TensorOptions(at::kFloat);
  view.mask = make_mask(view, 1, 1, options);
  const at::Tensor out =
      attend(at::ones({1, 1, 1}, options), at::tensor(logits).view({1, slots, 1}),
             at::tensor(values).view({1, slots, 1}), view);
  return out.item<double>();
}

// The same through the row kernel that serves decoding.
double row_kernel_logits(const std::vector<float>& logits, const std::vector<float>& values,
                         const AttentionView& view) {
  const float query = 1;
  float out = 0;
  std::vector<float> scores(logits.size());
  AttendArguments a;
  a.queries = &query;
  a.keys = logits.data();
  a.values = values.data();
  a.log_bias = view.log_bias.defined() ? view.log_bias.const_data_ptr<float>() : nullptr;
  a.scores = scores.data();
  a.out = &out;
  a.rows = 1;
  a.slots = static_cast<int64_t>(logits.size());
  a.head_dim = 1;
  a.scale = 1;
  a.context_begin = view.context_begin;
  a.context_end = view.context_end;
  a.temperature = static_cast<float>(view.temperature);
  a.lse_scale = static_cast<float>(view.lse_scale);
  row_kernels().f32.attend(a);
  return out;
}

void check_both(const std::vector<float>& logits, const std::vector<float>& values,
                const AttentionView& view, double expected) {
  CHECK_THAT(attend_logits(logits, values, view), Catch::Matchers::WithinAbs(expected, 2e-5));
  CHECK_THAT(row_kernel_logits(logits, values, view), Catch::Matchers::WithinAbs(expected, 2e-5));
}

AttentionView context(double temperature, double lse_scale) {
  AttentionView view;
  view.context_begin = 0;
  view.context_end = 3;
  view.temperature = temperature;
  view.lse_scale = lse_scale;
  return view;
}

}  // namespace

TEST_CASE("attention: context with temperature and scale gives APE's reference values",
          "[backbone][attention][oracle]") {
  const std::vector<float> logits = {1, 0, -1, 0.5F, -0.5F};
  const std::vector<float> values = {1, 2, 3, 10, 20};
  check_both(logits, values, context(1, 1), 5.430926);
  check_both(logits, values, context(0.9, 1), 5.614082);
  check_both(logits, values, context(0.9, 0.9), 5.970935);
  const std::vector<float> shifted = {4, 3, 2, 3.5F, 2.5F};
  check_both(shifted, values, context(1, 1), 5.430926);
  check_both(shifted, values, context(0.9, 0.9), 6.806465);
}

TEST_CASE("attention: two blocks merged by log-sum-exp equal the joint softmax",
          "[backbone][attention][oracle]") {
  AttentionView parts;
  parts.context_begin = 0;
  parts.context_end = 2;
  // A temperature a hair from 1 takes the two-part path, and its result must not move.
  parts.temperature = 1.0 + 1e-7;
  check_both({0.2F, 0.7F, -0.3F, 1.1F, 0.4F}, {1, 2, 3, 4, 5}, parts, 3.180744);
  check_both({0.2F, 0.7F, -0.3F, 1.1F, 0.4F}, {1, 2, 3, 4, 5}, AttentionView{}, 3.180744);
}

TEST_CASE("attention: a slot with bias ln 3 weighs as three, and one with -inf as none",
          "[backbone][attention][oracle]") {
  check_both({0.3F, 0.3F, 0.3F, 1.2F}, {1, 2, 3, 7}, AttentionView{}, 4.252548);
  AttentionView merged;
  merged.log_bias = at::tensor({std::log(3.0F), 0.0F});
  check_both({0.3F, 1.2F}, {2, 7}, merged, 4.252548);
  AttentionView removed;
  removed.log_bias = at::tensor({-INFINITY, 0.0F, 0.0F});
  check_both({5.0F, 0.3F, 0.3F}, {100, 2, 4}, removed, 3.0);
}

TEST_CASE("attention: grouped heads with a prefix equal the loop over heads",
          "[backbone][attention][property]") {
  const auto seed = GENERATE(range(0, 6));
  CAPTURE(seed);
  at::manual_seed(static_cast<uint64_t>(seed));
  const int64_t n = 1 + seed * 3;
  const int64_t before = seed * 5;
  const at::Tensor q = at::randn({n, 6, 8});
  const at::Tensor k = at::randn({2, before + n, 8});
  const at::Tensor v = at::randn({2, before + n, 8});
  AttentionView view;
  view.slots_before = before;
  view.mask = make_mask(view, n, 3, q.options());
  const at::Tensor fast = attend(q, k, v, view).view({n, 6, 8});
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t h = 0; h < 6; ++h) {
      const at::Tensor keys = k[h / 3].narrow(0, 0, before + i + 1);
      const at::Tensor weights = at::softmax(keys.matmul(q[i][h]) / std::sqrt(8.0), 0);
      const at::Tensor slow = weights.matmul(v[h / 3].narrow(0, 0, before + i + 1));
      CHECK((fast[i][h] - slow).abs().max().item<double>() < 1e-5);
    }
  }
}

}  // namespace alluvium::backbone
