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
