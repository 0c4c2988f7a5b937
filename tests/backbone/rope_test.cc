#include "alluvium/backbone/rope.h"

#include <ATen/ATen.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium::backbone {
namespace {

at::Tensor rotated(const Rope& rope, std::vector<float> row, int64_t position) {
  const at::Tensor states = at::tensor(row).view({1, 1, static_cast<int64_t>(row.size())});
  return rope.rotate(states, at::tensor({position}, at::kLong)).flatten();
}

void check_row(const at::Tensor& row, const std::vector<double>& expected) {
  for (std::size_t c = 0; c < expected.size(); ++c) {
    CAPTURE(c);
    CHECK_THAT(row[static_cast<int64_t>(c)].item<double>(),
               Catch::Matchers::WithinAbs(expected[c], 2e-6));
  }
}

}  // namespace

TEST_CASE("rope: half-split rotation gives the reference values", "[backbone][rope][oracle]") {
  const Rope rope(4, 1e5, 64);
  check_row(rotated(rope, {1, 2, 3, 4}, 3), {-1.413353, 1.961963, -2.828857, 4.018793});
  check_row(rotated(rope, {1, 2, 3, 4}, 7), {-1.217058, 1.910973, 2.918693, 4.043288});
  const Rope other(4, 1e4, 64);
  check_row(rotated(other, {1, 2, 3, 4}, 3), {-1.413353, 1.879118, -2.828857, 4.058191});
}

TEST_CASE("rope: turning by 3 and then by 4 is turning by 7", "[backbone][rope]") {
  const Rope rope(4, 1e5, 64);
  const at::Tensor three = rotated(rope, {1, 2, 3, 4}, 3).view({1, 1, 4});
  const at::Tensor seven = rope.rotate(three, at::tensor({int64_t{4}}, at::kLong)).flatten();
  check_row(seven, {-1.217058, 1.910973, 2.918693, 4.043288});
}

TEST_CASE("rope: products depend on the distance of positions only", "[backbone][rope][property]") {
  const Rope rope(4, 1e5, 64);
  const at::Tensor near =
      rotated(rope, {0.5F, -1, 2, 0.25F}, 10).dot(rotated(rope, {1, 2, 3, 4}, 3));
  const at::Tensor far =
      rotated(rope, {0.5F, -1, 2, 0.25F}, 14).dot(rotated(rope, {1, 2, 3, 4}, 7));
  CHECK_THAT(near.item<double>(), Catch::Matchers::WithinAbs(3.472513, 1e-5));
  CHECK_THAT(far.item<double>(), Catch::Matchers::WithinAbs(3.472513, 1e-5));
}

TEST_CASE("rope: a query and a key moved together keep their product",
          "[backbone][rope][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  constexpr int64_t kContext = 8192;
  static const Rope rope(64, 1e5, kContext);
  at::manual_seed(seed);
  const at::Tensor q = at::randn({1, 1, 64});
  const at::Tensor k = at::randn({1, 1, 64});
  const auto product = [&](int64_t query_at, int64_t key_at) {
    const auto turned = [&](const at::Tensor& states, int64_t position) {
      return rope.rotate(states, at::tensor({position}, at::kLong)).flatten();
    };
    return turned(q, query_at).dot(turned(k, key_at)).item<double>();
  };
  Random random(seed);
  const auto below = [&](int64_t limit) {
    return static_cast<int64_t>(random.below(static_cast<uint64_t>(limit)));
  };
  for (int round = 0; round < 10; ++round) {
    const int64_t offset = below(kContext);
    const int64_t s = below(kContext - offset);
    const int64_t t = below(kContext - offset);
    CAPTURE(offset, s, t);
    CHECK_THAT(product(s + offset, t + offset), Catch::Matchers::WithinAbs(product(s, t), 1e-4));
  }
}

// Two keys of an evicted stretch, at 1 and 2, stand as their mean; the stretch may be moved as a whole.
TEST_CASE("rope: a mean of turned keys turns as the keys do", "[backbone][rope][oracle]") {
  const Rope rope(4, 1e5, 64);
  const std::vector<float> first = {1, 0, 0.5F, 0.2F};
  const std::vector<float> second = {0.5F, 0.1F, 1, 0.3F};
  const at::Tensor mean = (rotated(rope, first, 1) + rotated(rope, second, 2)) / 2;
  check_row(mean, {-0.498902, 0.048734, 0.575062, 0.250313});
  const at::Tensor moved =
      rope.rotate(mean.view({1, 1, 4}), at::tensor({int64_t{9}}, at::kLong)).flatten();
  const std::vector<double> expected = {0.217571, 0.041591, -0.729563, 0.251598};
  check_row(moved, expected);
  check_row((rotated(rope, first, 10) + rotated(rope, second, 11)) / 2, expected);
}

TEST_CASE("rope: inverse frequencies of SmolLM2 and Llama 3", "[backbone][rope][oracle]") {
  const auto four = Rope(4, 1e5, 1).inverse_frequencies();
  REQUIRE(four.size() == 2);
  CHECK(four[0] == 1);
  CHECK_THAT(four[1], Catch::Matchers::WithinRel(0.00316227766, 1e-8));
  const auto smol = Rope(64, 1e5, 1).inverse_frequencies();
  REQUIRE(smol.size() == 32);
  CHECK(smol[0] == 1);
  CHECK_THAT(smol[1], Catch::Matchers::WithinRel(0.697830585, 1e-8));
  CHECK_THAT(smol[2], Catch::Matchers::WithinRel(0.486967525, 1e-8));
  CHECK_THAT(smol[15], Catch::Matchers::WithinRel(0.00453158364, 1e-8));
  CHECK_THAT(smol[16], Catch::Matchers::WithinRel(0.00316227766, 1e-8));
  CHECK_THAT(smol[31], Catch::Matchers::WithinRel(1.43301257e-05, 1e-8));
  const auto llama = Rope(128, 5e5, 1).inverse_frequencies();
  CHECK(llama[0] == 1);
  CHECK_THAT(llama[1], Catch::Matchers::WithinRel(0.814617234, 1e-8));
  CHECK_THAT(llama[63], Catch::Matchers::WithinRel(2.45514079e-06, 1e-8));
}

TEST_CASE("rope: a position outside the table is refused", "[backbone][rope]") {
  const Rope rope(4, 1e5, 8);
  CHECK_THROWS_AS(rotated(rope, {1, 2, 3, 4}, 8), InvalidArgument);
  CHECK_THROWS_AS(rotated(rope, {1, 2, 3, 4}, -1), InvalidArgument);
  CHECK_THROWS_AS(Rope(3, 1e5, 8), InvalidArgument);
}

}  // namespace alluvium::backbone
