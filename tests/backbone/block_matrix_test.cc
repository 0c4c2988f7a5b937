#include "block_matrix.h"

#include <limits>

#include <ATen/ATen.h>

#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium::backbone {
namespace {

struct RandomBlocks {
  std::vector<std::byte> bytes;
  StoredTensor tensor;
};

// Random codes under scales that are ordinary half-precision numbers (exponent 13: about 0.25 to 0.5).
RandomBlocks make_blocks(StorageFormat format, int64_t rows, int64_t cols, uint64_t seed) {
  const std::size_t size = format == StorageFormat::q8_0   ? 34
                           : format == StorageFormat::q4_1 ? 20
                                                           : 18;
  const std::size_t headers = format == StorageFormat::q4_1 ? 2 : 1;
  RandomBlocks blocks;
  Random random(seed);
  blocks.bytes.resize(static_cast<std::size_t>(rows * cols / 32) * size);
  for (std::size_t i = 0; i < blocks.bytes.size(); ++i) {
    const bool high_byte_of_half = i % size < 2 * headers && i % 2 == 1;
    blocks.bytes[i] = static_cast<std::byte>(
        high_byte_of_half ? 0x34 | (random.below(2) << 7) | random.below(4) : random.below(256));
  }
  blocks.tensor = {"w", format, {rows, cols}, blocks.bytes.data(), blocks.bytes.size()};
  return blocks;
}

}  // namespace

TEST_CASE("block matrix: products equal those of the dequantised matrix",
          "[backbone][block_matrix][property]") {
  const auto format = GENERATE(StorageFormat::q4_0, StorageFormat::q4_1, StorageFormat::q8_0);
  const auto rows = GENERATE(1, 3, 200);
  const auto cols = GENERATE(32, 96, 576);
  const auto arithmetic = GENERATE(BlockArithmetic::fastest, BlockArithmetic::floats);
  CAPTURE(to_string(format), rows, cols, static_cast<int>(arithmetic));
  const RandomBlocks blocks = make_blocks(format, rows, cols, static_cast<uint64_t>(rows + cols));
  const BlockMatrix matrix({&blocks.tensor}, {{}});
  const at::Tensor x = at::randn({cols});
  at::Tensor y = at::empty({rows});
  matrix.multiply(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), arithmetic);
  const at::Tensor exact = dequantise(blocks.tensor).to(at::kDouble).mv(x.to(at::kDouble));
  const double scale = 1.0 + exact.abs().max().item<double>();
  CHECK((y.to(at::kDouble) - exact).abs().max().item<double>() / scale < 1e-5);
}

TEST_CASE("block matrix: several rows at once are each row by itself",
          "[backbone][block_matrix][property]") {
  const auto format = GENERATE(StorageFormat::q4_0, StorageFormat::q4_1, StorageFormat::q8_0);
  const auto rows = GENERATE(3, 16, 200);
  const auto arithmetic = GENERATE(BlockArithmetic::fastest, BlockArithmetic::floats);
  const RandomBlocks blocks = make_blocks(format, rows, 96, 7);
  const BlockMatrix matrix({&blocks.tensor}, {{}});
  const at::Tensor x = at::randn({5, 96});
  at::Tensor together = at::empty({5, rows});
  matrix.multiply_rows(x.const_data_ptr<float>(), 5, together.mutable_data_ptr<float>(),
                       arithmetic);
  for (int64_t i = 0; i < 5; ++i) {
    at::Tensor alone = at::empty({rows});
    matrix.multiply(x[i].const_data_ptr<float>(), alone.mutable_data_ptr<float>(), arithmetic);
    CHECK(at::equal(together[i], alone));
  }
}

TEST_CASE("block matrix: a question's rows in 15 bits of a block's largest",
          "[backbone][block_matrix][property]") {
  if (!BlockMatrix::multiplies_few()) {
    WARN("skipped: the processor has no AVX512-VNNI");
    return;
  }
  const auto format = GENERATE(StorageFormat::q4_0, StorageFormat::q4_1, StorageFormat::q8_0);
  const auto rows = GENERATE(1, 16, 200);
  const auto count = GENERATE(1, 2, 11, 12, 13, 29);
  const int64_t cols = 96;
  CAPTURE(to_string(format), rows, count);
  const RandomBlocks blocks = make_blocks(format, rows, cols, static_cast<uint64_t>(rows + count));
  const BlockMatrix matrix({&blocks.tensor}, {{}});
  const at::Tensor x = at::randn({count, cols});
  at::Tensor y = at::full({count, rows}, 7.0);
  matrix.multiply_few(x.const_data_ptr<float>(), count, y.mutable_data_ptr<float>());
  const at::Tensor weights = dequantise(blocks.tensor).to(at::kDouble);
  const at::Tensor exact = at::linear(x.to(at::kDouble), weights);
  // Each number of x is off by half a step at most, 1 / 16,383 of the largest of its block.
  const at::Tensor step = std::get<0>(x.abs().view({count, cols / 32, 32}).max(2, true)) / 16383;
  const at::Tensor off = step.expand({count, cols / 32, 32}).reshape({count, cols}) / 2;
  const at::Tensor bound = at::linear(off.to(at::kDouble), weights.abs());
  CHECK(((y.to(at::kDouble) - exact).abs() <= bound + 1e-5 * (1 + exact.abs().max()))
            .all()
            .item<bool>());
}

TEST_CASE("block matrix: a question's rows with zeros and broken numbers",
          "[backbone][block_matrix]") {
  if (!BlockMatrix::multiplies_few()) {
    WARN("skipped: the processor has no AVX512-VNNI");
    return;
  }
  const RandomBlocks blocks = make_blocks(StorageFormat::q4_1, 16, 64, 4);
  const BlockMatrix matrix({&blocks.tensor}, {{}});
  at::Tensor x = at::zeros({3, 64});
  x[1][40] = std::numeric_limits<float>::infinity();
  at::Tensor y = at::full({3, 16}, 7.0);
  matrix.multiply_few(x.const_data_ptr<float>(), 3, y.mutable_data_ptr<float>());
  CHECK(y[0].abs().max().item<double>() == 0.0);
  CHECK(y[1].isnan().all().item<bool>());
  CHECK(y[2].abs().max().item<double>() == 0.0);
}

TEST_CASE("block matrix: sums of the largest codes and numbers do not wrap",
          "[backbone][block_matrix]") {
  const auto format = GENERATE(StorageFormat::q4_0, StorageFormat::q4_1, StorageFormat::q8_0);
  const auto byte = GENERATE(0x00, 0x7f, 0x80, 0xff);
  const auto sign = GENERATE(-1.0, 1.0);
  RandomBlocks blocks = make_blocks(format, 16, 64, 3);
  const std::size_t size = blocks.bytes.size() / 32;
  const std::size_t header = format == StorageFormat::q4_1 ? 4 : 2;
  for (std::size_t i = 0; i < blocks.bytes.size(); ++i) {
    blocks.bytes[i] = i % size < header ? blocks.bytes[i] : static_cast<std::byte>(byte);
  }
  const BlockMatrix matrix({&blocks.tensor}, {{}});
  const at::Tensor x = at::full({64}, sign * 3.0e4);
  at::Tensor y = at::empty({16});
  matrix.multiply(x.const_data_ptr<float>(), y.mutable_data_ptr<float>());
  const at::Tensor exact = dequantise(blocks.tensor).to(at::kDouble).mv(x.to(at::kDouble));
  const double scale = 1.0 + exact.abs().max().item<double>();
  CHECK((y.to(at::kDouble) - exact).abs().max().item<double>() / scale < 1e-5);
}

TEST_CASE("block matrix: sums of a question's rows do not wrap", "[backbone][block_matrix]") {
  if (!BlockMatrix::multiplies_few()) {
    WARN("skipped: the processor has no AVX512-VNNI");
    return;
  }
  const auto format = GENERATE(StorageFormat::q4_1, StorageFormat::q8_0);
  RandomBlocks blocks = make_blocks(format, 16, 1536, 3);
  const std::size_t size = format == StorageFormat::q8_0 ? 34 : 20;
  for (std::size_t i = 0; i < blocks.bytes.size(); ++i) {
    if (i % size >= size - (format == StorageFormat::q8_0 ? 32 : 16)) {
      blocks.bytes[i] = std::byte{format == StorageFormat::q8_0 ? uint8_t{0x80} : uint8_t{0xff}};
    }
  }
  const BlockMatrix matrix({&blocks.tensor}, {{}});
  const double sign = GENERATE(-1.0, 1.0);
  const at::Tensor x = at::full({2, 1536}, sign * 3.0);
  at::Tensor y = at::empty({2, 16});
  matrix.multiply_few(x.const_data_ptr<float>(), 2, y.mutable_data_ptr<float>());
  const at::Tensor exact = at::linear(x.to(at::kDouble), dequantise(blocks.tensor).to(at::kDouble));
  CHECK((y.to(at::kDouble) - exact).abs().max().item<double>() <
        1e-4 * exact.abs().max().item<double>());
}

TEST_CASE("block matrix: tiny, zero and broken numbers", "[backbone][block_matrix]") {
  const RandomBlocks blocks = make_blocks(StorageFormat::q8_0, 16, 64, 4);
  const BlockMatrix matrix({&blocks.tensor}, {{}});
  at::Tensor x = at::zeros({64});
  at::Tensor y = at::full({16}, 7.0);
  const auto multiply = [&] {
    matrix.multiply(x.const_data_ptr<float>(), y.mutable_data_ptr<float>());
  };
  multiply();
  CHECK(y.abs().max().item<double>() == 0.0);
  x.fill_(1e-36);
  multiply();
  CHECK(y.abs().max().item<double>() < 1e-30);
  x[40] = std::numeric_limits<float>::quiet_NaN();
  multiply();
  CHECK(y.isnan().all().item<bool>());
}

TEST_CASE("block matrix: parts are stacked and their rows reordered", "[backbone][block_matrix]") {
  const RandomBlocks top = make_blocks(StorageFormat::q4_1, 2, 32, 1);
  const RandomBlocks bottom = make_blocks(StorageFormat::q4_1, 3, 32, 2);
  const BlockMatrix matrix({&top.tensor, &bottom.tensor}, {{1, 0}, {}});
  REQUIRE(matrix.rows() == 5);
  const at::Tensor x = at::randn({32});
  at::Tensor y = at::empty({5});
  matrix.multiply(x.const_data_ptr<float>(), y.mutable_data_ptr<float>());
  const at::Tensor first = dequantise(top.tensor).mv(x);
  const at::Tensor second = dequantise(bottom.tensor).mv(x);
  const at::Tensor expected = at::cat({first.flip(0), second});
  CHECK((y - expected).abs().max().item<double>() < 1e-3);
}

TEST_CASE("block matrix: formats without blocks are not taken", "[backbone][block_matrix]") {
  const RandomBlocks blocks = make_blocks(StorageFormat::q4_1, 2, 32, 1);
  StoredTensor plain = blocks.tensor;
  plain.format = StorageFormat::f32;
  CHECK_FALSE(BlockMatrix::supports({&plain}));
  CHECK_FALSE(BlockMatrix::supports({}));
  CHECK(BlockMatrix::supports({&blocks.tensor}));
}

}  // namespace alluvium::backbone
