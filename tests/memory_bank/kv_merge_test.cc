#include <ATen/ops/from_blob.h>

#include "kv/merge.h"
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

}  // namespace
}  // namespace alluvium::tests
