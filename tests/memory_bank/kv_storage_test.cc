// Layers of several widths in one record, and the numbers that no record holds.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <ATen/ops/abs.h>
#include <ATen/ops/all.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_record.h"
#include "bank_fixtures.h"
#include "record_damage.h"
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

TEST_CASE("storage: any channels of keys pass through a record, the others as they are in float16",
          "[memory_bank][kv][channels][record][property]") {
  const auto seed = GENERATE(range(0U, 6U));
  const int64_t bits = GENERATE(0, 16, 3);
  const bool ragged = GENERATE(false, true);
  CAPTURE(seed, bits, ragged);
  Random random(seed);
  CodecOptions options = of_width({bits, bits, 0});
  options.scale_bits = seed % 2 == 0 ? 8 : 16;
  const auto type = bits == 16 ? at::kHalf : at::kFloat;
  const KeptRows kept = ragged ? random_choice(random, 40) : KeptRows{};
  const auto channels = random_channels(random);
  const Memory memory =
      stored_memory(memory_bank::resolve_settings(options), 40, kept, type, random, channels);
  const auto record = encode_record(memory);
  CHECK(same_memory(decode_record(record), memory));
  // Rows of the first layer and head.
  const int64_t rows = ragged ? kept.counts[0] : 40;
  const at::Tensor keys = memory.keys.reshape({-1, kHeadWidth}).narrow(0, 0, rows);
  std::size_t constant = 0;
  for (int64_t c = 0; c < kHeadWidth; ++c) {
    if (std::find(channels[0].kept.begin(), channels[0].kept.end(), c) != channels[0].kept.end()) {
      continue;
    }
    const float expected = c10::Half(channels[0].constant[constant++]);
    for (int64_t row = 0; row < rows; ++row) {
      CHECK(keys[row][c].item<float>() == expected);
    }
  }
}

TEST_CASE("storage: damaged and contradictory channels are found",
          "[memory_bank][kv][channels][record][property]") {
  CodecOptions options = of_width({3, 3, 0});
  options.scale_bits = GENERATE(8, 16);
  const bool ragged = GENERATE(false, true);
  CAPTURE(options.scale_bits, ragged);
  Random random(31);
  const KeptRows kept = ragged ? random_choice(random, 40) : KeptRows{};
  auto channels = random_channels(random);
  channels[0] = {{1, 2, 4, 6}, {0.5F, -1, 2}};
  const auto record = encode_record(stored_memory(memory_bank::resolve_settings(options), 40, kept,
                                                  at::kFloat, random, channels));
  for (std::size_t at = 0; at < record.size(); ++at) {
    auto damaged = record;
    damaged[at] ^= static_cast<std::byte>(1U << random.below(8));
    CAPTURE(at);
    REQUIRE_THROWS_AS(decode_record(damaged), DataCorruption);
    REQUIRE_THROWS_AS(decode_record(std::span(record).first(at)), DataCorruption);
  }
  uint64_t section = 0;
  std::memcpy(&section, record.data() + (128 + 40 * 4 + 63) / 64 * 64, sizeof(section));
  const std::size_t mask = section + (ragged ? kKvHeads * 5 : 0);
  REQUIRE(record.at(mask) == std::byte{0b1010110});
  REQUIRE_NOTHROW(decode_record(forge(record, mask, record[mask])));
  REQUIRE_NOTHROW(decode_record(forge(record, mask + 1, std::byte{7})));  // another mean
  // No channel, one past the last, one more, one fewer.
  for (const unsigned bits : {0U, 0b11010110U, 0b1010111U, 0b1010100U}) {
    CAPTURE(bits);
    CHECK_THROWS_AS(decode_record(forge(record, mask, static_cast<std::byte>(bits))),
                    DataCorruption);
  }
  CHECK_THROWS_AS(decode_record(forge(record, mask + 2, std::byte{0x7c})), DataCorruption);  // Inf
  CHECK_THROWS_AS(decode_record(forge(record, 6, record[6] ^ std::byte{16})), DataCorruption);
  // Absurd counts of heads and of channels take no memory.
  for (const std::size_t at : {80U, 81U, 82U, 83U, 84U, 85U, 86U, 87U}) {
    CHECK_THROWS_AS(decode_record(forge(record, at, std::byte{0x7f})), DataCorruption);
  }
}

namespace {

/// Every feature of version 4 at once, over rows of which each head lost some.
Memory memory_with_everything(const std::string& entropy, int64_t scale_bits) {
  constexpr int64_t kTokens = 400;
  CodecOptions options = of_width({3, 3, 4});
  options.scale_bits = scale_bits;
  options.keep = 0.4;
  options.merge = "compensation";
  options.key_channels = 0.5;
  options.residual_rank = 2;
  options.entropy = entropy;
  Random random(41);
  const KeptRows kept = random_choice(random, kTokens);
  const auto channels = random_channels(random);
  return stored_memory(memory_bank::resolve_settings(options), kTokens, kept, at::kFloat, random,
                       channels);
}

}  // namespace

TEST_CASE("storage: coders, compensation, fewer channels and residuals compose in one record",
          "[memory_bank][kv][record][property]") {
  const std::string entropy = GENERATE("zstd", "rans");
  const int64_t scale_bits = GENERATE(8, 16);
  CAPTURE(entropy, scale_bits);
  const Memory memory = memory_with_everything(entropy, scale_bits);
  const auto record = encode_record(memory);
  CHECK(record[4] == std::byte{4});
  CHECK(record[6] == static_cast<std::byte>(scale_bits == 8 ? 63 : 61));
  const std::vector<int> coders = layer_coders(record);
  REQUIRE(std::count(coders.begin(), coders.end(), entropy == "zstd" ? 1 : 2) > 0);
  const Memory read = decode_record(record);
  CHECK(same_memory(read, memory));
  CHECK(read.compensation.counts == memory.compensation.counts);
  // The coder changes nothing of it but its bytes.
  const Memory plain = memory_with_everything("none", scale_bits);
  CHECK(same_memory(read, plain));
  CHECK(record.size() < encode_record(plain).size());

  require_damage_is_found(record);
  // One feature less than the sections have, or than the version knows.
  for (const unsigned flag : {1U, 4U, 8U, 16U, 32U}) {
    CAPTURE(flag);
    CHECK_THROWS_AS(decode_record(forge(record, 6, record[6] ^ static_cast<std::byte>(flag))),
                    DataCorruption);
  }
  CHECK_THROWS_AS(decode_record(forge(record, 4, uint16_t{3})), NotSupported);
}

TEST_CASE(
    "storage: any bytes under right CRCs of a record with every feature give a memory or "
    "DataCorruption",
    "[memory_bank][kv][record][property]") {
  const std::string entropy = GENERATE("none", "zstd", "rans");
  const int64_t scale_bits = GENERATE(8, 16);
  CAPTURE(entropy, scale_bits);
  const auto record = encode_record(memory_with_everything(entropy, scale_bits));
  uint64_t section[2];  // of the first layer
  std::memcpy(section, record.data() + directory_at(record), sizeof(section));
  Random random(43);
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    // A third each: the first layer's bit maps, channels and what follows; its compensation rows;
    // anything from the directory on.
    const std::size_t whole = record.size() - directory_at(record) - 1;
    const std::size_t at = round % 3 == 0   ? section[0] + random.below(125)
                           : round % 3 == 1 ? section[0] + section[1] - 2 - random.below(60)
                                            : directory_at(record) + random.below(whole);
    CAPTURE(at);
    try {
      const Memory memory = decode_record(forge(record, at, static_cast<uint16_t>(random.next())));
      REQUIRE(memory.keys.sizes() == memory.values.sizes());
      REQUIRE(memory.compensation.counts.size() == memory.kept.counts.size());
    } catch (const DataCorruption&) {
      ++refused;
    }
  }
  CHECK(refused > 200);
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
