#include "alluvium/learners/adapter_average.h"

#include <limits>

#include <ATen/ATen.h>

#include "alluvium/core/error.h"
#include "support/catch.h"
#include "tiny_learner.h"

namespace alluvium::learners {
namespace {

using backbone::AdapterState;
using backbone::Projection;

AdapterState adapter(const tests::TinyDecoder& tiny, uint64_t seed, double b) {
  AdapterState state = Lora(*tiny.decoder, tests::small_lora(seed)).copy();
  for (auto& layer : state.layers) {
    for (auto& factors : layer.of) {
      factors.b.fill_(b);
    }
  }
  return state;
}

}  // namespace

TEST_CASE("adapter average: factors are weighted means", "[learners][adapter_average]") {
  const tests::TinyDecoder tiny;
  const AdapterState one = adapter(tiny, 1, 2.0);
  const AdapterState two = adapter(tiny, 2, 6.0);
  const AdapterState mean = average_adapters(std::vector<WeightedAdapter>{{&one, 1}, {&two, 3}});
  CHECK(mean.model == one.model);
  CHECK(mean.scale == one.scale);
  for (std::size_t layer = 0; layer < mean.layers.size(); ++layer) {
    for (const Projection p : backbone::kAllProjections) {
      const at::Tensor expected = one.layers[layer][p].a * 0.25 + two.layers[layer][p].a * 0.75;
      CHECK(at::allclose(mean.layers[layer][p].a, expected, 1e-6, 1e-7));
      CHECK(at::allclose(mean.layers[layer][p].b, at::full_like(mean.layers[layer][p].b, 5.0)));
    }
  }
  CHECK(one.layers[0][Projection::q].b.max().item<float>() == 2.0F);
}

TEST_CASE("adapter average: the mean of one adapter with itself is that adapter",
          "[learners][adapter_average]") {
  const tests::TinyDecoder tiny;
  const AdapterState one = adapter(tiny, 1, 2.0);
  const AdapterState mean = average_adapters(std::vector<WeightedAdapter>{{&one, 2}, {&one, 2}});
  CHECK(at::equal(mean.layers[1][Projection::down].a, one.layers[1][Projection::down].a));
  CHECK(at::equal(mean.layers[1][Projection::down].b, one.layers[1][Projection::down].b));
}

TEST_CASE("adapter average: adapters that have no mean are refused",
          "[learners][adapter_average]") {
  const tests::TinyDecoder tiny;
  const AdapterState one = adapter(tiny, 1, 2.0);
  AdapterState other = adapter(tiny, 2, 3.0);
  double weight = 1;
  const auto mean = [&] {
    return average_adapters(std::vector<WeightedAdapter>{{&one, 1}, {&other, weight}});
  };
  SECTION("none at all") { CHECK_THROWS_WITH(average_adapters({}), Catch::Contains("no adapter")); }
  SECTION("another model") {
    other.model[0] ^= 1;
    CHECK_THROWS_WITH(mean(), Catch::Contains("adapter 1 belongs to another model"));
  }
  SECTION("another scale") {
    other.scale *= 2;
    CHECK_THROWS_WITH(mean(), Catch::Contains("has scale"));
  }
  SECTION("another rank") {
    LoraOptions options = tests::small_lora();
    options.rank = 3;
    options.alpha = 6;  // the same scale
    other = Lora(*tiny.decoder, options).copy();
    CHECK_THROWS_WITH(mean(), Catch::Contains("other factors for q_proj of layer 0"));
  }
  SECTION("fewer matrices") {
    other.layers[1][Projection::up] = {};
    CHECK_THROWS_WITH(mean(), Catch::Contains("other factors for up_proj of layer 1"));
  }
  SECTION("a weight out of bounds") {
    weight = GENERATE(0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                      std::numeric_limits<double>::infinity());
    CHECK_THROWS_WITH(mean(), Catch::Contains("weight of adapter 1"));
  }
}

}  // namespace alluvium::learners
