// An adapter's factors in 8-bit codes: their products, and what a matrix makes of them.
#include "low_rank_blocks.h"

#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "adapter_stack.h"
#include "alluvium/core/random.h"
#include "block_matrix.h"
#include "support/catch.h"

namespace alluvium::backbone {
namespace {

using Spans = std::vector<std::pair<int64_t, int64_t>>;

/// Parts of (outputs, rank) each, stacked as a decoder stacks them.
struct Factors {
  Factors(const std::vector<std::pair<int64_t, int64_t>>& parts, int64_t in, double size_of_a,
          double size_of_b) {
    int64_t ranks = 0;
    int64_t out = 0;
    for (const auto& [rows, rank] : parts) {
      spans.insert(spans.end(), rank, {out, out + rows});
      ranks += rank;
      out += rows;
    }
    a = size_of_a * at::randn({ranks, in});
    b = at::zeros({out, ranks});
    for (int64_t r = 0; r < ranks; ++r) {
      const auto [begin, end] = spans[r];
      b.narrow(1, r, 1)
          .narrow(0, begin, end - begin)
          .copy_(size_of_b * at::randn({end - begin, 1}));
    }
  }

  /// The most that y = B (A x) may be off, x: [n, in]: half a step of each code, 1 / 127 of the largest of its block of A or of its
  /// row and part of B, and half a step of the whole numbers of x and A x, 1 / 16,383 of the largest.
  at::Tensor bound(const at::Tensor& x) const {
    const at::Tensor off_a = half_steps(a, 127);
    const at::Tensor off_x = half_steps(x, 16383);
    const at::Tensor low = at::linear(x, a);
    const at::Tensor off_low = at::linear(x.abs(), off_a) + at::linear(off_x, a.abs() + off_a) +
                               std::get<0>(low.abs().max(1, true)) / 16383;
    at::Tensor off_b = at::zeros_like(b);
    for (int64_t r = 0; r < a.size(0); ++r) {
      at::Tensor largest = at::zeros({b.size(0), 1});
      for (int64_t other = 0; other < a.size(0); ++other) {
        if (spans[other] == spans[r]) {
          largest = at::maximum(largest, b.narrow(1, other, 1).abs());
        }
      }
      off_b.narrow(1, r, 1).copy_(largest / 127 / 2);
    }
    return 1.01 * (at::linear(off_low, b.abs() + off_b) + at::linear(low.abs(), off_b)) + 1e-30;
  }

  static at::Tensor half_steps(const at::Tensor& x, double codes) {
    const at::Tensor blocks = x.abs().view({x.size(0), -1, 32});
    return (std::get<0>(blocks.max(2, true)) / (2 * codes)).expand_as(blocks).reshape_as(x);
  }

  at::Tensor product(const at::Tensor& x) const {
    return at::linear(at::linear(x.to(at::kDouble), a.to(at::kDouble)), b.to(at::kDouble));
  }

  at::Tensor a;
  at::Tensor b;
  Spans spans;
};

struct Matrix {
  Matrix(StorageFormat format, int64_t rows, int64_t cols) {
    const std::size_t size = format == StorageFormat::q8_0   ? 34
                             : format == StorageFormat::q4_1 ? 20
                                                             : 18;
    const std::size_t headers = format == StorageFormat::q4_1 ? 2 : 1;
    Random random(static_cast<uint64_t>(rows + cols));
    bytes.resize(static_cast<std::size_t>(rows * cols / 32) * size);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const bool high_byte_of_half = i % size < 2 * headers && i % 2 == 1;
      bytes[i] = static_cast<std::byte>(
          high_byte_of_half ? 0x24 | (random.below(2) << 7) | random.below(4) : random.below(256));
    }
    stored = {"w", format, {rows, cols}, bytes.data(), bytes.size()};
  }

  std::vector<std::byte> bytes;
  StoredTensor stored;
};

/// Runs with each number of threads and gives the numbers back as they were.
template <class Run>
void with_threads(Run run) {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    run(threads);
  }
  at::set_num_threads(before);
}

bool skipped() {
  if (!LowRankBlocks::supports(32)) {
    WARN("skipped: the processor has no AVX512-VNNI");
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("low rank: products are those of the factors, up to their codes' steps",
          "[backbone][adapter][property]") {
  if (skipped()) {
    return;
  }
  at::manual_seed(5);
  const auto parts = GENERATE(Spans{{16, 1}}, Spans{{5, 4}}, Spans{{48, 16}, {16, 16}, {16, 16}},
                              Spans{{20, 3}, {7, 12}, {40, 8}}, Spans{{64, 33}, {32, 70}});
  const auto count = GENERATE(1, 2, 12, 13, 29);
  // The smallest and largest that float16 scales could not hold.
  const auto size_of_a = GENERATE(1.0, 1e-9, 1e7);
  CAPTURE(parts.size(), count, size_of_a);
  const Factors factors(parts, 96, size_of_a, 0.1);
  const LowRankBlocks blocks(factors.a, factors.b, factors.spans);
  const int64_t out = factors.b.size(0);
  const at::Tensor x = at::randn({count, 96});
  at::Tensor y = at::zeros({count, out + 3});
  blocks.add_rows(x.const_data_ptr<float>(), count, out + 3, y.mutable_data_ptr<float>());
  CHECK(y.narrow(1, out, 3).abs().max().item<double>() == 0);
  const at::Tensor difference = (y.narrow(1, 0, out) - factors.product(x)).abs();
  const at::Tensor bound = factors.bound(x);
  CHECK((difference <= bound + 1e-6 * factors.product(x).abs().max()).all().item<bool>());
  // Errors of a code each are small beside sums of them.
  CHECK(difference.mean().item<double>() < 0.02 * factors.product(x).abs().mean().item<double>());
}

TEST_CASE("low rank: each row of several is the row alone, added to what was there",
          "[backbone][adapter][property]") {
  if (skipped()) {
    return;
  }
  at::manual_seed(6);
  const Factors factors({{48, 16}, {20, 16}}, 64, 1, 1);
  const LowRankBlocks blocks(factors.a, factors.b, factors.spans);
  const at::Tensor x = at::randn({17, 64});
  const at::Tensor before = at::randn({17, 68});
  at::Tensor together = before.clone();
  blocks.add_rows(x.const_data_ptr<float>(), 17, 68, together.mutable_data_ptr<float>());
  CHECK((together - before - factors.product(x)).abs().max().item<double>() <
        factors.bound(x).max().item<double>());
  for (int64_t i = 0; i < 17; ++i) {
    at::Tensor alone = before[i].clone();
    blocks.add_rows(x[i].const_data_ptr<float>(), 1, 68, alone.mutable_data_ptr<float>());
    CHECK(at::equal(together[i], alone));
  }
}

TEST_CASE("low rank: zeros change nothing, and a broken number is seen", "[backbone][adapter]") {
  if (skipped()) {
    return;
  }
  Factors factors({{16, 4}, {16, 4}}, 64, 1, 1);
  const at::Tensor x = at::randn({2, 64});
  const at::Tensor before = at::randn({2, 32});
  const auto add = [&](const at::Tensor& rows) {
    const LowRankBlocks blocks(factors.a, factors.b, factors.spans);
    at::Tensor y = before.clone();
    blocks.add_rows(rows.const_data_ptr<float>(), 2, 32, y.mutable_data_ptr<float>());
    return y;
  };
  at::Tensor broken = x.clone();
  broken[1][7] = std::numeric_limits<float>::quiet_NaN();
  CHECK(add(broken)[1].isnan().all().item<bool>());
  CHECK_FALSE(add(broken)[0].isnan().any().item<bool>());
  CHECK(at::equal(add(at::zeros({2, 64})), before));
  factors.b.narrow(0, 16, 16).zero_();
  CHECK(at::equal(add(x).narrow(1, 16, 16), before.narrow(1, 16, 16)));
  CHECK_FALSE(at::equal(add(x).narrow(1, 0, 16), before.narrow(1, 0, 16)));
  factors.a.zero_();
  CHECK(at::equal(add(x), before));
}

TEST_CASE("low rank: beside a matrix, one row, whatever the number of threads",
          "[backbone][adapter][block_matrix][property]") {
  if (skipped()) {
    return;
  }
  at::manual_seed(7);
  const auto format = GENERATE(StorageFormat::q4_0, StorageFormat::q4_1, StorageFormat::q8_0);
  // Whole groups; parts between groups; a last group that is not whole; fewer groups than threads.
  const auto parts =
      GENERATE(Spans{{576, 16}, {192, 16}, {192, 16}}, Spans{{100, 40}, {60, 3}},
               Spans{{64, 4}, {71, 4}}, Spans{{16, 16}}, Spans{{96, 1}}, Spans{{640, 300}});
  CAPTURE(to_string(format), parts.size());
  const Factors factors(parts, 96, 0.1, 0.1);
  const LowRankBlocks blocks(factors.a, factors.b, factors.spans);
  const int64_t out = factors.b.size(0);
  const Matrix weights(format, out, 96);
  const BlockMatrix matrix({&weights.stored}, {{}});
  const at::Tensor x = at::randn({1, 96});
  at::Tensor bare = at::empty({out});
  matrix.multiply(x.const_data_ptr<float>(), bare.mutable_data_ptr<float>());
  at::Tensor first;
  with_threads([&](int threads) {
    CAPTURE(threads);
    at::Tensor y = at::full({out}, 7.0);
    matrix.multiply_adapted(x.const_data_ptr<float>(), blocks, y.mutable_data_ptr<float>());
    const at::Tensor off = (y - bare - factors.product(x)[0]).abs();
    CHECK((off <= factors.bound(x)[0] + 1e-5 * (1 + bare.abs().max())).all().item<bool>());
    first = first.defined() ? first : y;
    CHECK(at::equal(y, first));
  });
  // Inside another parallel region all parts fall to one thread.
  at::Tensor nested = at::empty({2, out});
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      matrix.multiply_adapted(x.const_data_ptr<float>(), blocks,
                              nested.mutable_data_ptr<float>() + i * out);
    }
  });
  CHECK(at::equal(nested[0], first));
  CHECK(at::equal(nested[1], first));
}

TEST_CASE("low rank: beside a matrix, runs of rows with factors of their own",
          "[backbone][adapter][block_matrix][property]") {
  if (skipped()) {
    return;
  }
  at::manual_seed(8);
  const auto format = GENERATE(StorageFormat::q4_0, StorageFormat::q4_1, StorageFormat::q8_0);
  const Factors one({{48, 16}, {32, 16}}, 96, 0.1, 0.1);
  const Factors two({{48, 5}}, 96, 0.1, 0.1);
  const LowRankBlocks blocks_of_one(one.a, one.b, one.spans);
  const LowRankBlocks blocks_of_two(two.a, at::constant_pad_nd(two.b, {0, 0, 0, 32}), two.spans);
  const Matrix weights(format, 80, 96);
  const BlockMatrix matrix({&weights.stored}, {{}});
  const at::Tensor x = at::randn({19, 96});
  at::Tensor bare = at::empty({19, 80});
  matrix.multiply_few(x.const_data_ptr<float>(), 19, bare.mutable_data_ptr<float>());
  at::Tensor expected = bare.clone();
  const auto add = [&](const LowRankBlocks& blocks, int64_t begin, int64_t rows) {
    const at::Tensor from = x.narrow(0, begin, rows);
    blocks.add_rows(from.const_data_ptr<float>(), rows, 80,
                    expected.mutable_data_ptr<float>() + begin * 80);
  };
  add(blocks_of_one, 1, 13);
  add(blocks_of_two, 14, 5);
  CHECK(at::equal(expected[0], bare[0]));
  CHECK_FALSE(at::equal(expected[18], bare[18]));
  const std::vector<AdaptedBlocks> runs = {{&blocks_of_one, 1, 13}, {&blocks_of_two, 14, 5}};
  with_threads([&](int threads) {
    CAPTURE(threads);
    at::Tensor y = at::full({19, 80}, 7.0);
    matrix.multiply_few(x.const_data_ptr<float>(), 19, y.mutable_data_ptr<float>(), runs);
    CHECK(at::equal(y, expected));
  });
}

TEST_CASE("low rank: without blocks a row is multiplied in bfloat16", "[backbone][adapter]") {
  const Factors factors({{40, 3}, {24, 5}}, 64, 0.3, 0.3);
  Adapter::Stacked stacked;
  stacked.a = factors.a.to(at::kBFloat16);
  stacked.b_transposed = factors.b.t().to(at::kBFloat16).contiguous();
  stacked.spans = factors.spans;
  REQUIRE(multiplies_rows(stacked));
  const at::Tensor x = at::randn({1, 64});
  at::Tensor y = at::ones({64});
  std::vector<float> low;
  add_adapted_row(stacked, x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), low);
  const at::Tensor exact = factors.product(x)[0];
  CHECK((y - 1 - exact).abs().max().item<double>() < 0.02 * exact.abs().max().item<double>());
}

}  // namespace alluvium::backbone
