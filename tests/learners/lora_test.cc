#include "alluvium/learners/lora.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "alluvium/core/error.h"
#include "support/catch.h"
#include "tiny_learner.h"

namespace alluvium::learners {
namespace {

using backbone::Projection;

at::Tensor loss_of(const backbone::Decoder& decoder, const Lora& lora,
                   const backbone::KvCache& context) {
  const std::vector<backbone::TokenId> tokens = {3, 17, 99, 4, 61};
  const backbone::ScoredSequence sequence{&context, tokens, 1};
  return decoder.negative_log_likelihood({&sequence, 1}, lora.state()).mean();
}

}  // namespace

TEST_CASE("Lora: new factors change nothing before the first step, and have the right count",
          "[learners][lora]") {
  const tests::TinyDecoder tiny;
  const Lora lora(*tiny.decoder, tests::small_lora());
  int64_t expected = 0;
  for (const Projection p : backbone::kAllProjections) {
    const backbone::ProjectionShape shape = backbone::shape_of(tiny.decoder->geometry(), p);
    expected += tests::TinyLlama::kLayers * 2 * (shape.in + shape.out);
  }
  CHECK(lora.parameters().numel() == expected);
  CHECK(lora.state().scale == 2.0);
  for (const auto& layer : lora.state().layers) {
    for (const auto& factors : layer.of) {
      CHECK(factors.b.abs().max().item<double>() == 0);
      CHECK(factors.a.abs().max().item<double>() > 0);
      CHECK(factors.a.abs().max().item<double>() <=
            1 / std::sqrt(static_cast<double>(factors.a.size(1))));
    }
  }
}

TEST_CASE("Lora: factors and gradients are views of one vector each", "[learners][lora]") {
  const tests::TinyDecoder tiny;
  Lora lora(*tiny.decoder, tests::small_lora());
  const backbone::KvCache context = tiny.decoder->start({}, 0);
  loss_of(*tiny.decoder, lora, context).backward();
  // With B zero only B has a gradient.
  CHECK(lora.gradient().abs().max().item<double>() > 0);
  const auto& first = lora.state().layers.front()[Projection::q];
  CHECK(first.a.grad().abs().max().item<double>() == 0);
  CHECK(at::equal(first.b.grad().flatten(),
                  lora.gradient().narrow(0, first.a.numel(), first.b.numel())));
  const at::Tensor once = lora.gradient().clone();
  loss_of(*tiny.decoder, lora, context).backward();
  CHECK(at::allclose(lora.gradient(), 2 * once));
  lora.zero_gradient();
  CHECK(first.b.grad().abs().max().item<double>() == 0);
  {
    const at::NoGradGuard no_gradient;
    lora.parameters().fill_(0.25);
  }
  CHECK(first.a[0][0].item<double>() == 0.25);
}

TEST_CASE("Lora: the same seed gives the same factors, another seed others", "[learners][lora]") {
  const tests::TinyDecoder tiny;
  const Lora a(*tiny.decoder, tests::small_lora(3));
  const Lora b(*tiny.decoder, tests::small_lora(3));
  const Lora c(*tiny.decoder, tests::small_lora(4));
  CHECK(at::equal(a.parameters(), b.parameters()));
  CHECK_FALSE(at::equal(a.parameters(), c.parameters()));
}

TEST_CASE("Lora: a copy stays when training goes on, and can be trained further",
          "[learners][lora]") {
  const tests::TinyDecoder tiny;
  Lora lora(*tiny.decoder, tests::small_lora());
  {
    const at::NoGradGuard no_gradient;
    lora.parameters().add_(0.01);
  }
  const backbone::AdapterState copy = lora.copy();
  const at::Tensor before = lora.parameters().clone();
  {
    const at::NoGradGuard no_gradient;
    lora.parameters().zero_();
  }
  const Lora again(*tiny.decoder, copy);
  CHECK(at::equal(again.parameters(), before));
  CHECK(again.state().scale == 2.0);
}

TEST_CASE("Lora: options outside their bounds are refused", "[learners][lora]") {
  const tests::TinyDecoder tiny;
  LoraOptions options = tests::small_lora();
  SECTION("rank") { options.rank = 0; }
  SECTION("alpha") { options.alpha = 0; }
  SECTION("no projection") { options.projections.clear(); }
  SECTION("one twice") { options.projections = {Projection::q, Projection::q}; }
  CHECK_THROWS_AS(Lora(*tiny.decoder, options), InvalidArgument);
}

TEST_CASE("Lora: the rank-stabilised scale divides by the root", "[learners][lora]") {
  LoraOptions options;
  options.rank = 16;
  options.alpha = 8;
  CHECK(options.scale() == 0.5);
  options.rank_stabilised = true;
  CHECK(options.scale() == 2.0);
}

}  // namespace alluvium::learners
