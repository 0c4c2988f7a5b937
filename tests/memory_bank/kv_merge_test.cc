#include <ATen/ops/from_blob.h>

#include "kv/merge.h"
#include "kv/settings.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

at::Tensor rows(std::vector<float> numbers) {
  const auto n = static_cast<int64_t>(numbers.size()) / 2;
  return at::from_blob(numbers.data(), {1, 1, n, 2}, at::TensorOptions().dtype(at::kFloat)).clone();
}

memory_bank::KeptRows kept(std::vector<int64_t> positions) {
  memory_bank::KeptRows rows;
  rows.counts = {static_cast<int64_t>(positions.size())};
  rows.positions =
      at::from_blob(positions.data(), {rows.counts[0]}, at::TensorOptions().dtype(at::kLong))
          .clone();
  return rows;
}

// kv_memory.md, vector V10: kept keys (1, 0), (0, 1) with values (2, 0), (0, 1); the evicted key
// (0.8, 0.6) with value (1, 1) goes to the first with weight 0.8 * sqrt(2) / (sqrt(2) + 2) = 0.331371.
TEST_CASE("merge: an evicted value by hand", "[memory_bank][kv][merge]") {
  const at::Tensor keys = rows({1, 0, 0.8F, 0.6F, 0, 1});
  const at::Tensor values = rows({2, 0, 1, 1, 0, 1});
  const at::Tensor merged = memory_bank::merge_values(keys, values, kept({0, 2}))[0][0];
  CHECK_THAT(merged[0][0].item<float>(), Catch::Matchers::WithinAbs(1.751106, 1e-6));
  CHECK_THAT(merged[0][1].item<float>(), Catch::Matchers::WithinAbs(0.248894, 1e-6));
  CHECK(merged[2][0].item<float>() == 0);
  CHECK(merged[2][1].item<float>() == 1);
}

TEST_CASE("merge: rows unlike every kept one are lost, and nothing evicted changes nothing",
          "[memory_bank][kv][merge]") {
  const at::Tensor keys = rows({1, 0, -1, 0, 1, 0.1F});
  const at::Tensor values = rows({2, 0, 9, 9, 0, 1});
  const at::Tensor merged = memory_bank::merge_values(keys, values, kept({0, 2}))[0][0];
  CHECK(merged[0][0].item<float>() == 2);
  CHECK(merged[2][1].item<float>() == 1);
  CHECK(memory_bank::merge_values(keys, values, {}).equal(values));
}

// kv_memory.md, vector V10: pivot (1, 0), set (1, 0), (.8, .6), (.6, .8), squared distances 0, .4, .8.
TEST_CASE("merge: weights of neighbours by hand", "[memory_bank][kv][merge]") {
  const std::vector<double> distances = {0, 0.4, 0.8};
  const std::vector<double> expected = {0.605611, 0.272118, 0.122271};
  const std::vector<double> weights = memory_bank::gaussian_weights(distances, 0.25);
  REQUIRE(weights.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK_THAT(weights[i], Catch::Matchers::WithinAbs(expected[i], 1e-6));
  }
  CHECK(memory_bank::gaussian_weights(std::vector<double>{0, 0}, 0) ==
        std::vector<double>{0.5, 0.5});
}

// The set of V10 with sigma^2 = (.4 + .8) / 2: g = 1, exp(-1/3), exp(-2/3), weights .448441, .321322,
// .230237. The next key, (-1, 0), is like none before it.
TEST_CASE("merge: a run of like keys becomes its kept row by hand", "[memory_bank][kv][merge]") {
  const at::Tensor keys = rows({1, 0, 0.8F, 0.6F, 0.6F, 0.8F, -1, 0, -1, 0});
  const at::Tensor values = rows({2, 0, 1, 1, 0, 4, 9, 9, 7, 7});
  const auto merged = memory_bank::merge_neighbours(keys, values, kept({0}));
  const auto check = [](const at::Tensor& row, double x, double y) {
    CHECK_THAT(row[0].item<double>(), Catch::Matchers::WithinAbs(x, 1e-5));
    CHECK_THAT(row[1].item<double>(), Catch::Matchers::WithinAbs(y, 1e-5));
  };
  check(merged.keys[0][0][0], 0.843641, 0.376983);
  check(merged.values[0][0][0], 1.218204, 1.242270);
  // Equal keys have equal weights, whichever is kept, and the run before is lost.
  const auto last = memory_bank::merge_neighbours(keys, values, kept({4}));
  check(last.keys[0][0][4], -1, 0);
  check(last.values[0][0][4], 8, 8);
}

TEST_CASE("merge: an evicted row joins the nearest kept row of its run, the earlier of two",
          "[memory_bank][kv][merge]") {
  const at::Tensor keys = rows({1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0});
  const at::Tensor values = rows({1, 0, 3, 0, 8, 0, 5, 0, 0, 0, 10, 0});
  // Rows 0 and 2 join row 1, though row 2 is as near to row 3; rows 4 and 5 join row 3.
  const auto merged = memory_bank::merge_neighbours(keys, values, kept({1, 3})).values[0][0];
  CHECK_THAT(merged[1][0].item<double>(), Catch::Matchers::WithinAbs(4, 1e-5));
  CHECK_THAT(merged[3][0].item<double>(), Catch::Matchers::WithinAbs(5, 1e-5));
  // A kept row of another run, though nearer, takes nothing.
  const at::Tensor apart = rows({0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0});
  const auto other = memory_bank::merge_neighbours(apart, values, kept({0, 4})).values[0][0];
  CHECK(other[0][0].item<float>() == 1);
  CHECK_THAT(other[4][0].item<double>(), Catch::Matchers::WithinAbs(5.2, 1e-5));
}

TEST_CASE("merge: neighbours of unlike keys, and nothing evicted, change nothing",
          "[memory_bank][kv][merge]") {
  const at::Tensor keys = rows({1, 0, 0, 1, -1, 0});
  const at::Tensor values = rows({2, 0, 9, 9, 0, 1});
  for (const auto& chosen : {kept({0, 2}), memory_bank::KeptRows{}}) {
    const auto merged = memory_bank::merge_neighbours(keys, values, chosen);
    CHECK(merged.keys.equal(keys));
    CHECK(merged.values.equal(values));
  }
  for (const std::string& merge : memory_bank::merge_names()) {
    CAPTURE(merge);
    const auto whole = memory_bank::merge_rows(merge, keys, values, {});
    CHECK(whole.keys.is_same(keys));
    CHECK(whole.values.is_same(values));
  }
}

}  // namespace
}  // namespace alluvium::tests
