#include "alluvium/learners/optimiser.h"

#include <ATen/ATen.h>

#include "alluvium/core/error.h"
#include "support/catch.h"

namespace alluvium::learners {

TEST_CASE("AdamW: two steps by hand", "[learners][optimiser]") {
  // Step 1: m = 0.05, v = 0.0025, both corrected: 0.5 and 0.25, so p = 1 - 0.1 * 0.5 / 0.5.
  // Step 2: m = 0.02, v = 0.0031; 0.02 / 0.19 = 0.105263, 0.0031 / 0.0199 = 0.155779, root 0.394689.
  at::Tensor p = at::ones({1}, at::kDouble);
  AdamW optimiser(p, {});
  optimiser.step(p, at::full({1}, 0.5, at::kDouble), 0.1);
  CHECK_THAT(p.item<double>(), Catch::WithinAbs(0.9, 1e-7));
  optimiser.step(p, at::full({1}, -0.25, at::kDouble), 0.1);
  CHECK_THAT(p.item<double>(), Catch::WithinAbs(0.9 - 0.1 * 0.1052632 / 0.3946890, 1e-6));
}

TEST_CASE("AdamW: decay shrinks a parameter without gradient by rate times decay",
          "[learners][optimiser]") {
  at::Tensor p = at::full({1}, 2.0, at::kDouble);
  AdamW optimiser(p, {.weight_decay = 0.1});
  optimiser.step(p, at::zeros({1}, at::kDouble), 0.5);
  CHECK_THAT(p.item<double>(), Catch::WithinAbs(2.0 * 0.95, 1e-12));
}

TEST_CASE("AdamW: a restored optimiser goes on as the one it was saved from",
          "[learners][optimiser]") {
  const at::Tensor gradient = at::linspace(-1, 1, 8, at::kFloat);
  at::Tensor a = at::ones({8});
  AdamW first(a, {});
  first.step(a, gradient, 0.1);
  at::Tensor b = a.clone();
  AdamW second(b, {});
  second.restore(first.state());
  first.step(a, gradient * 0.5, 0.1);
  second.step(b, gradient * 0.5, 0.1);
  CHECK(at::equal(a, b));
  AdamW other(at::ones({9}), {});
  CHECK_THROWS_AS(other.restore(first.state()), DataCorruption);
}

TEST_CASE("Apollo: of a single row, every channel's first step is as long as every other's",
          "[learners][optimiser]") {
  // The projection is one number p: moments p g and p^2 g^2, both corrected, give steps of 1 / |p|.
  at::Tensor p = at::zeros({4}, at::kDouble);
  Apollo optimiser(p, {{0, 1, 4}}, {}, {.rank = 4, .seed = 3});
  optimiser.step(p, at::tensor({0.5, -2.0, 1e-3, 4.0}, at::kDouble), 0.1);
  const double step = -p[0].item<double>();
  CHECK(step > 0);
  CHECK_THAT(p[1].item<double>(), Catch::WithinRel(step, 1e-4));
  CHECK_THAT(p[2].item<double>(), Catch::WithinRel(-step, 1e-4));
  CHECK_THAT(p[3].item<double>(), Catch::WithinRel(-step, 1e-4));
}

TEST_CASE("Apollo: tensor-wise, a step lies along the gradient", "[learners][optimiser]") {
  const at::Tensor gradient = at::tensor({0.5, -2.0, 1.0, 4.0, -1.0, 0.25}, at::kDouble);
  at::Tensor p = at::zeros({6}, at::kDouble);
  Apollo optimiser(p, {{0, 3, 2}}, {}, {.rank = 1, .tensor_wise = true, .scale = 4});
  optimiser.step(p, gradient, 0.1);
  const double cosine =
      p.dot(gradient).item<double>() / (p.norm() * gradient.norm()).item<double>();
  CHECK_THAT(cosine, Catch::WithinAbs(-1, 1e-12));
  at::Tensor q = at::zeros({6}, at::kDouble);
  Apollo plain(q, {{0, 3, 2}}, {}, {.rank = 1, .tensor_wise = true, .scale = 1});
  plain.step(q, gradient, 0.1);
  CHECK(at::allclose(p, 2 * q));
}

TEST_CASE("Apollo: a step grows by a hundredth at most", "[learners][optimiser]") {
  at::Tensor p = at::zeros({64}, at::kDouble);
  Apollo optimiser(p, {{0, 8, 8}}, {}, {});
  double before = 0;
  for (int i = 0; i < 12; ++i) {
    const at::Tensor at = p.clone();
    optimiser.step(p, at::randn({64}, at::kDouble) * (i % 3 == 0 ? 10 : 0.1), 1.0);
    const auto length = (p - at).norm().item<double>();
    CHECK((before == 0 || length <= 1.01 * before * (1 + 1e-6)));
    before = length;
  }
}

TEST_CASE("Apollo: with every dimension kept it walks downhill like AdamW",
          "[learners][optimiser]") {
  // f(W) = |W - target|^2 / 2.
  const at::Tensor target = at::linspace(-1, 1, 48, at::kDouble);
  at::Tensor p = at::zeros({48}, at::kDouble);
  Apollo optimiser(p, {{0, 4, 6}, {24, 6, 4}}, {}, {.rank = 4, .refresh = 10});
  for (int i = 0; i < 300; ++i) {
    optimiser.step(p, p - target, 0.02 * (1 - i / 300.0));
  }
  CHECK((p - target).norm().item<double>() < 0.05 * target.norm().item<double>());
}

TEST_CASE("Apollo: a restored optimiser goes on as the one it was saved from, in fewer numbers",
          "[learners][optimiser]") {
  const at::Tensor gradient = at::linspace(-1, 1, 16 * 40, at::kFloat);
  at::Tensor a = at::ones({16 * 40});
  Apollo first(a, {{0, 16, 40}}, {}, {.rank = 2, .refresh = 2});
  first.step(a, gradient, 0.1);
  first.step(a, gradient, 0.1);
  CHECK(first.state().at("apollo.first").numel() == 2 * 40);
  at::Tensor b = a.clone();
  Apollo second(b, {{0, 16, 40}}, {}, {.rank = 2, .refresh = 2});
  second.restore(first.state());
  first.step(a, gradient * 0.5, 0.1);
  second.step(b, gradient * 0.5, 0.1);
  CHECK(at::equal(a, b));
  Apollo other(at::ones({8}), {{0, 2, 4}}, {}, {.rank = 2});
  CHECK_THROWS_AS(other.restore(first.state()), DataCorruption);
  CHECK_THROWS_AS(Apollo(a, {{0, 2, 4}}, {}, {}), InvalidArgument);
  CHECK_THROWS_AS(Apollo(a, {{0, 16, 40}}, {}, {.rank = 0}), InvalidArgument);
}

TEST_CASE("clip_norm_: a gradient longer than the limit is scaled to it, others stay",
          "[learners][optimiser]") {
  at::Tensor gradient = at::full({4}, 3.0, at::kDouble);  // norm 6
  CHECK_THAT(clip_norm_(gradient, 1.5), Catch::WithinAbs(6, 1e-12));
  CHECK_THAT(gradient.norm().item<double>(), Catch::WithinAbs(1.5, 1e-12));
  CHECK_THAT(clip_norm_(gradient, 2), Catch::WithinAbs(1.5, 1e-12));
  CHECK_THAT(gradient.norm().item<double>(), Catch::WithinAbs(1.5, 1e-12));
}

TEST_CASE("LearningRate: warms up, then decays to zero", "[learners][optimiser]") {
  LearningRate rate{.highest = 1.0, .warm_up_steps = 4, .steps = 12, .decay = Decay::linear};
  CHECK_THAT(rate.at(0), Catch::WithinAbs(0.25, 1e-12));
  CHECK_THAT(rate.at(3), Catch::WithinAbs(1.0, 1e-12));
  CHECK_THAT(rate.at(8), Catch::WithinAbs(0.5, 1e-12));
  CHECK_THAT(rate.at(12), Catch::WithinAbs(0.0, 1e-12));
  rate.decay = Decay::cosine;
  CHECK_THAT(rate.at(8), Catch::WithinAbs(0.5, 1e-12));
  CHECK_THAT(rate.at(6), Catch::WithinAbs(0.5 * (1 + std::sqrt(0.5)), 1e-12));
  rate.decay = Decay::none;
  CHECK_THAT(rate.at(11), Catch::WithinAbs(1.0, 1e-12));
}

}  // namespace alluvium::learners
