#include "flash_kernels.h"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "alluvium/core/random.h"
#include "attention.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using backbone::AttentionView;
using backbone::ObservedSlots;

at::Tensor normal(Random& random, const std::vector<int64_t>& sizes, double width) {
  at::Tensor made = at::empty(sizes, at::kFloat);
  float* values = made.data_ptr<float>();
  for (int64_t i = 0; i < made.numel(); ++i) {
    values[i] = static_cast<float>(width * random.normal());
  }
  return made.to(at::kBFloat16);
}

}  // namespace

TEST_CASE("flash kernels: attention and its highest weights as from the whole matrix in float64",
          "[backbone][attention][property]") {
  if (backbone::flash_kernels() == nullptr) {
    WARN("skipped: this processor has no AVX512-BF16");
    return;
  }
  constexpr int64_t kKvHeads = 2;
  const int64_t head_dim = GENERATE(64, 128);
  const int64_t group = GENERATE(1, 3);
  const int64_t rows = GENERATE(1, 7, 8, 45);
  const int64_t before = GENERATE(0, 1, 63, 64, 130);
  const bool biased = GENERATE(false, true);
  CAPTURE(head_dim, group, rows, before, biased);
  Random random(static_cast<uint64_t>(head_dim * 1000 + group * 500 + rows * 10 + before));
  const int64_t all = before + rows;
  // A cache has room behind its slots: heads are strided.
  const at::Tensor keys = normal(random, {kKvHeads, all + 5, head_dim}, 1.5).narrow(1, 0, all);
  const at::Tensor values = normal(random, {kKvHeads, all + 5, head_dim}, 1.0).narrow(1, 0, all);
  const at::Tensor queries = normal(random, {rows, kKvHeads * group, head_dim}, 1.5);
  AttentionView view;
  view.slots_before = before;
  view.mask = backbone::make_mask(view, rows, group, keys.options());
  at::Tensor bias = at::zeros({all}, at::kDouble);
  if (biased) {
    view.log_bias = normal(random, {all + 5}, 2.0).to(at::kFloat);
    view.log_bias.narrow(0, 0, before / 2).slice(0, 1, before / 2, 3).fill_(-INFINITY);
    bias = view.log_bias.narrow(0, 0, all).to(at::kDouble);
  }
  const int64_t begin = std::min<int64_t>(before, 2);
  ObservedSlots observed{begin, before, at::empty({kKvHeads, before - begin}, at::kFloat)};
  const at::Tensor out =
      backbone::attend(queries, keys, values, view, before > begin ? &observed : nullptr);
  REQUIRE(out.sizes() == at::IntArrayRef({rows, kKvHeads * group * head_dim}));

  const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
  at::Tensor wanted = at::empty({rows, kKvHeads * group, head_dim}, at::kDouble);
  for (int64_t q = 0; q < kKvHeads * group; ++q) {
    const int64_t head = q / group;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t seen = before + row + 1;
      const at::Tensor weights = at::softmax(
          keys[head].narrow(0, 0, seen).to(at::kDouble).matmul(queries[row][q].to(at::kDouble)) *
                  scale +
              bias.narrow(0, 0, seen),
          0);
      wanted[row][q] = weights.matmul(values[head].narrow(0, 0, seen).to(at::kDouble));
    }
  }
  // Weights and the result are rounded to bfloat16: 2^-9 of a number each.
  CHECK(at::allclose(out.view({rows, kKvHeads * group, head_dim}).to(at::kDouble), wanted, 8e-3,
                     8e-3));
  for (int64_t head = 0; before > begin && head < kKvHeads; ++head) {
    at::Tensor highest = at::zeros({before - begin}, at::kDouble);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t q = head * group; q < (head + 1) * group; ++q) {
        const at::Tensor weights =
            at::softmax(keys[head].narrow(0, 0, before + row + 1)
                                    .to(at::kDouble)
                                    .matmul(queries[row][q].to(at::kDouble)) *
                                scale +
                            bias.narrow(0, 0, before + row + 1),
                        0);
        highest = at::maximum(highest, weights.narrow(0, begin, before - begin));
      }
    }
    CHECK(at::allclose(observed.maximum[head].to(at::kDouble), highest, 1e-4, 1e-6));
  }
}

TEST_CASE("flash kernels: a weight of one row is not another's", "[backbone][attention]") {
  if (backbone::flash_kernels() == nullptr) {
    WARN("skipped: this processor has no AVX512-BF16");
    return;
  }
  // Rows in one call or each alone give the same bits: tiles and places depend on slots only.
  Random random(3);
  const int64_t rows = 21;
  const at::Tensor keys = normal(random, {1, 100 + rows, 64}, 2.0);
  const at::Tensor queries = normal(random, {rows, 2, 64}, 2.0);
  AttentionView view;
  view.slots_before = 100;
  view.mask = backbone::make_mask(view, rows, 2, keys.options());
  const at::Tensor together = backbone::attend(queries, keys, keys, view);
  for (int64_t row = 0; row < rows; ++row) {
    AttentionView alone;
    alone.slots_before = 100 + row;
    alone.mask = backbone::make_mask(alone, 1, 2, keys.options());
    const at::Tensor one = backbone::attend(queries.narrow(0, row, 1), keys.narrow(1, 0, 101 + row),
                                            keys.narrow(1, 0, 101 + row), alone);
    CHECK(at::equal(one[0], together[row]));
  }
}

}  // namespace alluvium::tests
