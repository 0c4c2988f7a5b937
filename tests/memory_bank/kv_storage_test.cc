// Layers of several widths in one record, and the numbers that no record holds.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ops/abs.h>
#include <ATen/ops/all.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_record.h"
#include "bank_fixtures.h"
#include "record_directory.h"
#include "stored_memory.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using memory_bank::CodecOptions;
using memory_bank::decode_record;
using memory_bank::encode_record;
using memory_bank::KeptRows;
using memory_bank::KvSettings;
using memory_bank::Memory;
using memory_bank::StoredKv;
using memory_bank::StoredLayer;

struct Width {
  int64_t keys;
  int64_t values;
  int64_t boundary;
};

CodecOptions of_width(const Width& width) {
  CodecOptions options;
  options.key_bits = width.keys;
  options.value_bits = width.values;
  options.boundary_bits = width.boundary;
  return options;
}

}  // namespace

TEST_CASE("storage: layers of several widths pass through one record bit for bit",
          "[memory_bank][kv][record][property]") {
  const Width width = GENERATE(Width{2, 3, 4}, Width{4, 2, 3}, Width{3, 4, 2}, Width{2, 2, 8});
  CodecOptions options = of_width(width);
  options.scale_bits = GENERATE(8, 16);
  options.key_group = GENERATE(5, 32);
  const int64_t tokens = GENERATE(1, 33, 70);
  const bool ragged = GENERATE(false, true);
  const auto type = GENERATE(at::kFloat, at::kBFloat16);
  CAPTURE(width.keys, width.values, width.boundary, options.scale_bits, options.key_group, tokens,
          ragged, at::toString(type));
  Random random(static_cast<uint64_t>(tokens));
  const KeptRows kept = ragged ? random_choice(random, tokens) : KeptRows{};
  const Memory memory =
      stored_memory(memory_bank::resolve_settings(options), tokens, kept, type, random);
  const auto record = encode_record(memory);

  const LayerBits boundary{std::max(width.keys, width.boundary),
                           std::max(width.values, width.boundary)};
  const LayerBits inner{width.keys, width.values};
  CHECK(layer_bits(record) ==
        std::vector<LayerBits>{boundary, boundary, inner, inner, boundary, boundary});
  const Memory read = decode_record(record);
  CHECK(same_memory(read, memory));
  CHECK(read.kept.counts == kept.counts);
}

TEST_CASE("storage: a changed bit or a missing end of a record of 2, 3 and 4 bits is found",
          "[memory_bank][kv][record][property]") {
  CodecOptions options = of_width({2, 3, 4});
  options.scale_bits = GENERATE(8, 16);
  const bool ragged = GENERATE(false, true);
  CAPTURE(options.scale_bits, ragged);
  Random random(21);
  const KeptRows kept = ragged ? random_choice(random, 71) : KeptRows{};
  const auto record = encode_record(
      stored_memory(memory_bank::resolve_settings(options), 71, kept, at::kFloat, random));
  REQUIRE(layer_bits(record).at(0) == LayerBits{4, 4});
  REQUIRE(layer_bits(record).at(2) == LayerBits{2, 3});
  for (int round = 0; round < 1000; ++round) {
    auto damaged = record;
    const auto at = static_cast<std::size_t>(random.below(record.size()));
    damaged[at] ^= static_cast<std::byte>(1U << random.below(8));
    CAPTURE(at);
    REQUIRE_THROWS_AS(decode_record(damaged), DataCorruption);
  }
  for (std::size_t size = 0; size < record.size(); ++size) {
    CAPTURE(size);
    REQUIRE_THROWS_AS(decode_record(std::span(record).first(size)), DataCorruption);
  }
}

TEST_CASE("storage: a number that is not finite in float16 is not quantised, 65504 is",
          "[memory_bank][kv]") {
  const int64_t bits = GENERATE(2, 3, 4, 8);
  CodecOptions options = of_width({bits, bits, bits});
  options.scale_bits = GENERATE(8, 16);
  CAPTURE(bits, options.scale_bits);
  const KvSettings settings = memory_bank::resolve_settings(options);
  const at::Tensor plain = at::zeros({1, 1, 9, 4}, at::kFloat);
  const auto with = [&](float number) {
    const at::Tensor changed = plain.clone();
    changed[0][0][4][2] = number;
    return changed;
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float number :
       {NAN, kInfinity, -kInfinity, std::nextafter(65504.0F, kInfinity), -65536.0F, 1e30F}) {
    CAPTURE(number);
    CHECK_THROWS_AS(store_kv(with(number), plain, {}, at::kFloat, settings), NumericError);
    CHECK_THROWS_AS(store_kv(plain, with(number), {}, at::kFloat, settings), NumericError);
  }
  const at::Tensor widest = with(65504);
  widest[0][0][3][2] = -65504.0F;
  Memory memory;
  memory.tokens.resize(9);
  const StoredKv stored = store_kv(widest, widest, {}, at::kFloat, settings);
  const std::vector<StoredLayer> layers = {{bits, bits, stored.layers.at(0).section}};
  load_kv(stored, layers, memory);
  for (const at::Tensor& back : {memory.keys, memory.values}) {
    CHECK(at::isfinite(back).all().item<bool>());
    // A step of the ladder of 8-bit scales is 131008 / bits' levels / 255.
    CHECK_THAT(back[0][0][4][2].item<double>(), Catch::Matchers::WithinAbs(65504, 600));
    CHECK_THAT(back[0][0][3][2].item<double>(), Catch::Matchers::WithinAbs(-65504, 600));
  }
}

}  // namespace alluvium::tests
