#include <cmath>
#include <cstring>
#include <iostream>

#include <ATen/ops/equal.h>
#include <nlohmann/json.hpp>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "support/checkpoint_writers.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

using backbone::dequantise;
using backbone::StorageFormat;
using backbone::StoredTensor;

StoredTensor stored(StorageFormat format, std::vector<int64_t> shape, const std::string& bytes) {
  return {"w", format, std::move(shape), reinterpret_cast<const std::byte*>(bytes.data()),
          bytes.size()};
}

std::vector<float> values_of(const StoredTensor& tensor) {
  const at::Tensor values = dequantise(tensor);
  return {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()};
}

std::string raw_half(uint16_t bits) { return bytes_of(std::vector<uint16_t>{bits}); }

// IEEE 754 binary16 by its definition, in double.
double half_value(uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  const int exponent = bits >> 10 & 0x1f;
  const int fraction = bits & 0x3ff;
  return sign *
         (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

uint16_t random_finite_half(Random& random) {
  return static_cast<uint16_t>(random.below(31) << 10 | random.below(1024) | random.below(2) << 15);
}

// An element of a block format by the layout's definition.
double element(StorageFormat format, const std::string& block, int64_t i) {
  uint16_t scale = 0;
  uint16_t minimum = 0;
  std::memcpy(&scale, block.data(), 2);
  std::memcpy(&minimum, block.data() + 2, 2);
  if (format == StorageFormat::q8_0) {
    return half_value(scale) * static_cast<int8_t>(block[2 + i]);
  }
  const std::size_t codes = format == StorageFormat::q4_1 ? 4 : 2;
  const auto byte = static_cast<uint8_t>(block[codes + i % 16]);
  const int code = i < 16 ? byte & 15 : byte >> 4;
  return format == StorageFormat::q4_1 ? half_value(scale) * code + half_value(minimum)
                                       : half_value(scale) * (code - 8);
}

// SHA-256 over every tensor's name, a line feed and its values, as tests/oracle/checkpoints/make_digests.py computes it.
std::string digest_of_weights(const std::string& path) {
  const auto checkpoint = backbone::open_checkpoint(path);
  Sha256 hash;
  for (const StoredTensor& tensor : checkpoint->tensors()) {
    const at::Tensor values = dequantise(tensor);
    hash.update(tensor.name + "\n").update(values.data_ptr<float>(), values.nbytes());
  }
  return to_hex(hash.finish());
}

}  // namespace

TEST_CASE("dequantise: float32 is copied bit for bit", "[backbone][dequantise]") {
  const std::string bytes = bytes_of(std::vector<float>{1.5F, -0.0F, 3e38F, 1e-45F, NAN, INFINITY});
  const at::Tensor values = dequantise(stored(StorageFormat::f32, {2, 3}, bytes));
  CHECK(values.sizes() == at::IntArrayRef({2, 3}));
  CHECK(std::memcmp(values.data_ptr<float>(), bytes.data(), bytes.size()) == 0);
}

TEST_CASE("dequantise: every half-precision number has its value", "[backbone][dequantise]") {
  std::vector<uint16_t> bits(1U << 16);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    bits[i] = static_cast<uint16_t>(i);
  }
  const std::vector<float> values =
      values_of(stored(StorageFormat::f16, {static_cast<int64_t>(bits.size())}, bytes_of(bits)));
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const bool finite = (i >> 10 & 0x1f) != 0x1f;
    const bool nan = !finite && (i & 0x3ff) != 0;
    CAPTURE(i);
    REQUIRE(std::isnan(values[i]) == nan);
    REQUIRE(std::isfinite(values[i]) == finite);
    if (finite) {
      REQUIRE(values[i] == static_cast<float>(half_value(bits[i])));
    }
  }
}

TEST_CASE("dequantise: bfloat16 is the upper half of float32", "[backbone][dequantise]") {
  // 0x3f80 = 1, 0xc049 = -(2 + 1 + 1/8 + 1/64) = -3.140625, 0x0001 = 2^-133
  const std::string bytes = raw_half(0x3f80) + raw_half(0xc049) + raw_half(0x0001);
  CHECK(values_of(stored(StorageFormat::bf16, {3}, bytes)) ==
        std::vector<float>{1.0F, -3.140625F, std::ldexp(1.0F, -133)});
}

TEST_CASE("dequantise: q8_0 is code times scale", "[backbone][dequantise]") {
  // Scale 0.5 = 0x3800; codes -16 .. 15.
  std::string bytes = raw_half(0x3800);
  for (int code = -16; code < 16; ++code) {
    bytes += static_cast<char>(code);
  }
  const std::vector<float> values = values_of(stored(StorageFormat::q8_0, {1, 32}, bytes));
  CHECK(values[0] == -8.0F);
  CHECK(values[16] == 0.0F);
  CHECK(values[31] == 7.5F);
}

TEST_CASE("dequantise: q4_0 holds the first half below and the second half above",
          "[backbone][dequantise]") {
  // Scale 2 = 0x4000; byte i is (15 - i) above and i below, so element i is 2 (i - 8) and element i + 16 is 2 (7 - i).
  std::string bytes = raw_half(0x4000);
  for (int i = 0; i < 16; ++i) {
    bytes += static_cast<char>((15 - i) << 4 | i);
  }
  const std::vector<float> values = values_of(stored(StorageFormat::q4_0, {32}, bytes));
  for (int i = 0; i < 16; ++i) {
    CHECK(values[i] == static_cast<float>(2 * (i - 8)));
    CHECK(values[i + 16] == static_cast<float>(2 * (7 - i)));
  }
}

TEST_CASE("dequantise: q4_1 adds the minimum", "[backbone][dequantise]") {
  // Scale 0.25 = 0x3400, minimum -1 = 0xbc00; every byte 0xf0: the first half is -1, the second 15/4 - 1 = 2.75.
  const std::string bytes = raw_half(0x3400) + raw_half(0xbc00) + std::string(16, '\xf0');
  const std::vector<float> values = values_of(stored(StorageFormat::q4_1, {32}, bytes));
  CHECK(values[0] == -1.0F);
  CHECK(values[15] == -1.0F);
  CHECK(values[16] == 2.75F);
  CHECK(values[31] == 2.75F);
}

TEST_CASE("dequantise: integers are converted, those float32 cannot hold are refused",
          "[backbone][dequantise]") {
  const std::string bytes = bytes_of(std::vector<int64_t>{-7, 0, 1 << 24});
  CHECK(values_of(stored(StorageFormat::i64, {3}, bytes)) == std::vector<float>{-7, 0, 1 << 24});
  const std::string large = bytes_of(std::vector<int64_t>{(1 << 24) + 1});
  CHECK_THROWS_AS(dequantise(stored(StorageFormat::i64, {1}, large)), NotSupported);
}

TEST_CASE("dequantise: block formats equal their definition in double, rounded once",
          "[backbone][dequantise][property]") {
  const unsigned seed = GENERATE(range(0U, 20U));
  const auto [format, block_bytes] = GENERATE(table<StorageFormat, std::size_t>(
      {{StorageFormat::q8_0, 34}, {StorageFormat::q4_0, 18}, {StorageFormat::q4_1, 20}}));
  CAPTURE(seed, to_string(format));
  Random random(seed);
  const int64_t rows = 1 + static_cast<int64_t>(random.below(4));
  const int64_t blocks = 1 + static_cast<int64_t>(random.below(5));
  std::string bytes;
  for (int64_t block = 0; block < rows * blocks; ++block) {
    bytes += raw_half(random_finite_half(random)) + raw_half(random_finite_half(random));
    while (bytes.size() % block_bytes != 0) {
      bytes += static_cast<char>(random.below(256));
    }
  }
  const std::vector<float> values = values_of(stored(format, {rows, 32 * blocks}, bytes));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string block = bytes.substr(i / 32 * block_bytes, block_bytes);
    REQUIRE(values[i] == static_cast<float>(element(format, block, static_cast<int64_t>(i % 32))));
  }
}

TEST_CASE("dequantise: a tensor whose bytes do not fit its shape is refused",
          "[backbone][dequantise]") {
  const std::string bytes(34, '\0');
  CHECK_THROWS_AS(dequantise(stored(StorageFormat::q8_0, {64}, bytes)), InvalidArgument);
  CHECK_THROWS_AS(dequantise(stored(StorageFormat::q8_0, {2, 16}, bytes)), InvalidArgument);
  CHECK_THROWS_AS(dequantise(stored(StorageFormat::f32, {-1}, bytes)), InvalidArgument);
  CHECK(dequantise(stored(StorageFormat::f32, {0, 3}, "")).numel() == 0);
}

TEST_CASE("dequantise: the default models' weights are the reference readers', bit for bit",
          "[backbone][dequantise][oracle]") {
  const auto [name, path] = GENERATE(table<std::string, std::optional<std::string>>(
      {{"decoder", default_decoder_path()}, {"encoder", default_encoder_path()}}));
  if (!path) {
    std::cout << "skipped: the default " << name << " is not installed\n";
    return;
  }
  const auto digests =
      nlohmann::json::parse(read_file(oracle_directory() + "/checkpoints/digests.json"));
  CHECK(digest_of_weights(*path) == digests.at(name).get<std::string>());
}

TEST_CASE("dequantise: both tiny checkpoints hold the same weights", "[backbone][dequantise]") {
  const TemporaryDirectory directory;
  const auto gguf = backbone::open_checkpoint(write_tiny_llama_gguf(directory.path(), 3));
  const auto huggingface =
      backbone::open_checkpoint(write_tiny_llama_huggingface(directory.path(), 3));
  REQUIRE(gguf->tensors().size() == huggingface->tensors().size());
  const auto same = [&](const char* a, const char* b) {
    return at::equal(dequantise(*gguf->find_tensor(a)), dequantise(*huggingface->find_tensor(b)));
  };
  CHECK(same("token_embd.weight", "model.embed_tokens.weight"));
  CHECK(same("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"));
  CHECK(same("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"));
  // Query rows are permuted in GGUF: row 1 of a head is row 4 (half of 8) of the Hugging Face head.
  const at::Tensor query = dequantise(*gguf->find_tensor("blk.0.attn_q.weight"));
  const at::Tensor plain =
      dequantise(*huggingface->find_tensor("model.layers.0.self_attn.q_proj.weight"));
  CHECK(at::equal(query[1], plain[4]));
  CHECK(at::equal(query[8 + 2], plain[8 + 1]));
}

}  // namespace alluvium::tests
