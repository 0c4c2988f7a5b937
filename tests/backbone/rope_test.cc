#include "alluvium/backbone/rope.h"

#include <ATen/ATen.h>

#include "alluvium/core/error.h"
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

TEST_CASE("rope: inverse frequencies of SmolLM2 and Llama 3", "[backbone][rope][oracle]") {
  const auto smol = Rope(64, 1e5, 1).inverse_frequencies();
  CHECK_THAT(smol[1], Catch::Matchers::WithinRel(0.697830585, 1e-8));
  CHECK_THAT(smol[15], Catch::Matchers::WithinRel(0.00453158364, 1e-8));
  CHECK_THAT(smol[31], Catch::Matchers::WithinRel(1.43301257e-05, 1e-8));
  const auto llama = Rope(128, 5e5, 1).inverse_frequencies();
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
