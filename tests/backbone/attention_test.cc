#include "attention.h"

#include <algorithm>
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

// One new token by the row kernel that serves decoding. q: [rows, head_dim], the heads of a group; k, v:
// [slots, head_dim].
at::Tensor attend_row(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const AttentionView& view) {
  const at::Tensor scores = at::empty({q.size(0), k.size(0)}, q.options());
  const at::Tensor out = at::empty_like(q);
  AttendArguments a;
  a.queries = q.const_data_ptr<float>();
  a.keys = k.const_data_ptr();
  a.values = v.const_data_ptr();
  a.log_bias = view.log_bias.defined() ? view.log_bias.const_data_ptr<float>() : nullptr;
  a.scores = scores.mutable_data_ptr<float>();
  a.out = out.mutable_data_ptr<float>();
  a.rows = q.size(0);
  a.slots = k.size(0);
  a.head_dim = q.size(1);
  a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(a.head_dim)));
  a.context_begin = view.context_begin;
  a.context_end = view.context_end;
  a.temperature = static_cast<float>(view.temperature);
  a.lse_scale = static_cast<float>(view.lse_scale);
  row_kernels().f32.attend(a);
  return out;
}

double attend_logits_in_a_row(const std::vector<float>& logits, const std::vector<float>& values,
                              const AttentionView& view) {
  return attend_row(at::ones({1, 1}), at::tensor(logits).unsqueeze(1),
                    at::tensor(values).unsqueeze(1), view)
      .item<double>();
}

void check_both(const std::vector<float>& logits, const std::vector<float>& values,
                const AttentionView& view, double expected, double tolerance = 2e-5) {
  CHECK_THAT(attend_logits(logits, values, view), Catch::Matchers::WithinAbs(expected, tolerance));
  CHECK_THAT(attend_logits_in_a_row(logits, values, view),
             Catch::Matchers::WithinAbs(expected, tolerance));
}

/// The first `slots` slots are context.
AttentionView context(double temperature, double lse_scale, int64_t slots = 3) {
  AttentionView view;
  view.context_begin = 0;
  view.context_end = slots;
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
  check_both(shifted, values, context(0.9, 1), 5.614082);
  check_both(shifted, values, context(0.9, 0.9), 6.806465);
}

TEST_CASE("attention: the context's share of the weight is APE's reference value",
          "[backbone][attention][oracle]") {
  // Context values 1 and others 0: the output is the share itself.
  const std::vector<float> logits = {1, 0, -1, 0.5F, -0.5F};
  const std::vector<float> ones_of_context = {1, 1, 1, 0, 0};
  check_both(logits, ones_of_context, context(1, 1), 0.644361, 2e-6);
  check_both(logits, ones_of_context, context(0.9, 1), 0.625601, 2e-6);
  check_both(logits, ones_of_context, context(0.9, 0.9), 0.594048, 2e-6);
  const std::vector<float> shifted = {4, 3, 2, 3.5F, 2.5F};
  check_both(shifted, ones_of_context, context(0.9, 0.9), 0.520171, 2e-6);

  // The row kernel adds 600 equal weights one after the other: 3e-6 in float32.
  const std::vector<float> even(650, 0.0F);
  std::vector<float> first_600(650, 0.0F);
  std::fill_n(first_600.begin(), 600, 1.0F);
  check_both(even, first_600, context(1, 1, 600), 0.923077, 5e-6);
  check_both(even, first_600, context(0.9, 0.9, 600), 0.780655, 5e-6);
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
  check_both({0.3F, 1.2F}, {2, 7}, AttentionView{}, 5.554748);  // as one it would weigh too little
  // The mean stands for unequal slots only nearly: 4.252548 again.
  check_both({0.1F, 0.3F, 0.5F, 1.2F}, {1, 2, 3, 7}, AttentionView{}, 4.309327);
  AttentionView removed;
  removed.log_bias = at::tensor({-INFINITY, 0.0F, 0.0F});
  check_both({5.0F, 0.3F, 0.3F}, {100, 2, 4}, removed, 3.0);
}

// Shares 138 / 238 and 100 / 238. In bfloat16 the logarithms would be 4.9375 and 4.59375, the first
// share 0.5851.
TEST_CASE("attention: in bfloat16 a bias counts as in float32", "[backbone][attention]") {
  const int64_t head_dim = GENERATE(8, 64);  // of ATen's kernels and of our own
  const int64_t rows = GENERATE(1, 3);
  const double temperature = GENERATE(1.0, 1.0 + 1e-9);
  CAPTURE(head_dim, rows, temperature);
  const auto options = at::TensorOptions(at::kBFloat16);
  const at::Tensor keys = at::zeros({1, 2 + rows, head_dim}, options);
  const at::Tensor values = at::zeros({1, 2 + rows, head_dim}, options);
  values[0][0].fill_(1);
  AttentionView view = context(temperature, 1, 1);
  view.slots_before = 2;
  view.log_bias = at::full({2 + rows}, -INFINITY, at::kFloat);
  view.log_bias[0] = std::log(138.0);
  view.log_bias[1] = std::log(100.0);
  view.mask = make_mask(view, rows, 1, options);
  const at::Tensor out = attend(at::ones({rows, 1, head_dim}, options), keys, values, view);
  CHECK((out.to(at::kDouble) - 138.0 / 238).abs().max().item<double>() < 2e-3);
}

TEST_CASE("attention: identical slots weigh as one with the logarithm of their number as bias",
          "[backbone][attention][property]") {
  const auto seed = GENERATE(range(0, 4));
  const int64_t copies = GENERATE(2, 5, 17);
  const double temperature = GENERATE(1.0, 0.8);
  CAPTURE(seed, copies, temperature);
  at::manual_seed(static_cast<uint64_t>(seed));
  constexpr int64_t kNew = 3;
  constexpr int64_t kBefore = 9;
  constexpr int64_t kCopied = 4;
  constexpr int64_t kGroup = 3;
  const at::Tensor q = at::randn({kNew, 2 * kGroup, 8});
  const at::Tensor k = at::randn({2, kBefore + kNew, 8});
  const at::Tensor v = at::randn({2, kBefore + kNew, 8});
  const at::Tensor times = at::ones({kBefore + kNew}, at::kLong);
  times[kCopied] = copies;
  const at::Tensor slot = at::repeat_interleave(times);
  const at::Tensor many_k = k.index_select(1, slot);
  const at::Tensor many_v = v.index_select(1, slot);

  AttentionView one = context(temperature, 1, kBefore);
  one.slots_before = kBefore;
  one.log_bias = at::log(times.to(at::kFloat));
  one.mask = make_mask(one, kNew, kGroup, q.options());
  AttentionView many = context(temperature, 1, kBefore + copies - 1);
  many.slots_before = kBefore + copies - 1;
  many.mask = make_mask(many, kNew, kGroup, q.options());
  const auto apart = [](const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().max().item<double>();
  };
  CHECK(apart(attend(q, k, v, one), attend(q, many_k, many_v, many)) <= 1e-6);
  for (int64_t head = 0; head < 2; ++head) {
    const at::Tensor heads = q[kNew - 1].narrow(0, head * kGroup, kGroup);
    CHECK(apart(attend_row(heads, k[head], v[head], one),
                attend_row(heads, many_k[head], many_v[head], many)) <= 1e-6);
  }
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

TEST_CASE("attention: rows at places of their own see what they see among all rows",
          "[backbone][attention][property]") {
  const at::ScalarType dtype = GENERATE(at::kFloat, at::kBFloat16);
  const auto seed = GENERATE(range(0, 4));
  CAPTURE(dtype, seed);
  at::manual_seed(static_cast<uint64_t>(seed));
  constexpr int64_t kSlots = 150;
  // Heads of 64, which the kernels for bfloat16 take where all rows attend.
  const at::Tensor q = at::randn({kSlots, 6, 64}).to(dtype);
  const at::Tensor k = at::randn({2, kSlots, 64}).to(dtype);
  const at::Tensor v = at::randn({2, kSlots, 64}).to(dtype);
  AttentionView all;
  all.mask = make_mask(all, kSlots, 3, q.options());
  const at::Tensor places = at::arange(seed, kSlots, 1 + 7 * seed, at::kLong);
  const at::Tensor some =
      attend(q.index_select(0, places), k, v, scattered_view(places, kSlots, 3, q.options()));
  const at::Tensor wanted = attend(q, k, v, all).index_select(0, places);
  CHECK((some - wanted).abs().max().item<double>() < (dtype == at::kFloat ? 1e-5 : 4e-2));
}

}  // namespace alluvium::backbone
