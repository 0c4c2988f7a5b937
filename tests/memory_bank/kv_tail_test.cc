// Rows that are not kept in few bits (MiKV), and CacheGen's quantiser: records, bounds, answers.
#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ops/allclose.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_record.h"
#include "kv/settings.h"
#include "record_damage.h"
#include "record_directory.h"
#include "stored_memory.h"
#include "support/catch.h"
#include "tiny_model.h"

namespace alluvium::tests {
namespace {

using memory_bank::decode_record;
using memory_bank::encode_record;
using memory_bank::KeptRows;
using memory_bank::resolve_settings;

constexpr int64_t kTokens = 70;

CodecOptions mixed(int64_t tail_bits, int64_t bits = 4) {
  CodecOptions options;
  options.keep = 0.4;
  options.key_bits = options.value_bits = bits;
  options.boundary_bits = bits;
  options.tail_bits = tail_bits;
  return options;
}

/// Of the same numbers in every call, of which the same rows are kept, or all.
Memory memory_of(const CodecOptions& options, at::ScalarType type = at::kFloat,
                 bool everything = false) {
  Random random(23);
  const KeptRows kept = random_choice(random, kTokens);
  return stored_memory(resolve_settings(options), kTokens, everything ? KeptRows{} : kept, type,
                       random);
}

/// [slot] -> kept tokens.
std::vector<std::vector<int64_t>> kept_tokens() {
  Random random(23);
  const KeptRows kept = random_choice(random, kTokens);
  std::vector<std::vector<int64_t>> slots;
  const auto* position = kept.positions.const_data_ptr<int64_t>();
  for (const int64_t count : kept.counts) {
    slots.emplace_back(position, position + count);
    position += count;
  }
  return slots;
}

}  // namespace

TEST_CASE("tail: kept rows are those without a tail, the others lie near what they were",
          "[memory_bank][kv][tail][property]") {
  const int64_t bits = GENERATE(2, 3, 4);
  const auto type = GENERATE(at::kFloat, at::kBFloat16);
  CAPTURE(bits, at::toString(type));
  const Memory with = memory_of(mixed(bits), type);
  const Memory without = memory_of(mixed(0), type);
  CodecOptions exact_options;
  exact_options.key_bits = exact_options.value_bits = 32;
  const Memory exact = memory_of(exact_options, at::kFloat, /*everything=*/true);
  REQUIRE(with.kept.everything());
  REQUIRE(with.keys.sizes() == at::IntArrayRef{kLayers, kKvHeads, kTokens, kHeadWidth});
  const auto slots = kept_tokens();
  int64_t row = 0;
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const auto layer = static_cast<int64_t>(slot) / kKvHeads;
    const auto head = static_cast<int64_t>(slot) % kKvHeads;
    for (int64_t token = 0; token < kTokens; ++token) {
      const at::Tensor key = with.keys[layer][head][token];
      const at::Tensor value = with.values[layer][head][token];
      if (std::find(slots[slot].begin(), slots[slot].end(), token) != slots[slot].end()) {
        REQUIRE(same_bits(key, without.keys[row]));
        REQUIRE(same_bits(value, without.values[row]));
        ++row;
      }
      // Numbers are normal with a deviation of 3: a range is some 20 wide at most.
      const double step = 24.0 / ((1 << bits) - 1) / 2 + 0.2;
      REQUIRE(at::allclose(key.to(at::kFloat), exact.keys[layer][head][token], 0, step));
      REQUIRE(at::allclose(value.to(at::kFloat), exact.values[layer][head][token], 0, step));
    }
  }
  CHECK(row == without.keys.size(0));
}

TEST_CASE("tail: records pass through bit for bit and no damage does",
          "[memory_bank][kv][tail][record][property]") {
  const std::string entropy = GENERATE("none", "zstd", "rans");
  const int64_t scale_bits = GENERATE(8, 16);
  const std::string quantiser = GENERATE("minmax", "cachegen");
  CAPTURE(entropy, scale_bits, quantiser);
  CodecOptions options = mixed(2);
  options.entropy = entropy;
  options.scale_bits = scale_bits;
  options.quantiser = quantiser;
  options.residual_rank = 1;
  Random random(29);
  constexpr int64_t kLong = 400;
  const KeptRows kept = random_choice(random, kLong);
  const auto channels = random_channels(random);
  const Memory memory =
      stored_memory(resolve_settings(options), kLong, kept, at::kFloat, random, channels);
  const auto record = encode_record(memory);
  CHECK(record[4] == std::byte{5});
  if (entropy != "none") {
    const std::vector<int> coders = layer_coders(record);
    REQUIRE(std::count(coders.begin(), coders.end(), entropy == "zstd" ? 1 : 2) > 0);
  }
  CHECK(same_memory(decode_record(record), memory));
  options.entropy = "none";
  Random again(29);
  const KeptRows same = random_choice(again, kLong);
  const auto same_channels = random_channels(again);
  CHECK(same_memory(decode_record(encode_record(stored_memory(
                        resolve_settings(options), kLong, same, at::kFloat, again, same_channels))),
                    memory));
  if (scale_bits == 16) {
    require_damage_is_found(record);
  }
  constexpr std::size_t kTailBitsAt = 106;
  for (const unsigned bits : {0U, 1U, 3U, 5U, 8U, 255U}) {
    CHECK_THROWS_AS(decode_record(forge(record, kTailBitsAt, static_cast<std::byte>(bits))),
                    DataCorruption);
  }
  for (const unsigned flag : {1U, 8U, 64U}) {
    CAPTURE(flag);
    CHECK_THROWS_AS(decode_record(forge(record, 6, record[6] ^ static_cast<std::byte>(flag))),
                    DataCorruption);
  }
  CHECK_THROWS_AS(decode_record(forge(record, 4, uint16_t{4})), NotSupported);
}

TEST_CASE("tail: any bytes under right CRCs give a memory or DataCorruption",
          "[memory_bank][kv][tail][record][property]") {
  const std::string entropy = GENERATE("none", "zstd", "rans");
  CAPTURE(entropy);
  CodecOptions options = mixed(2);
  options.entropy = entropy;
  const auto record = encode_record(memory_of(options));
  Random random(31);
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    const std::size_t whole = record.size() - directory_at(record) - 1;
    const std::size_t at = directory_at(record) + random.below(whole);
    CAPTURE(at);
    try {
      const Memory memory = decode_record(forge(record, at, static_cast<uint16_t>(random.next())));
      REQUIRE(memory.keys.sizes() == memory.values.sizes());
      REQUIRE(memory.kept.everything());
    } catch (const DataCorruption&) {
      ++refused;
    }
  }
  if (entropy != "none") {  // plain codes may be any
    CHECK(refused > 20);
  }
}

// Of 70 tokens and 7 channels, one range a row of a head: 4 bytes of scale and minimum, 4 of 4-bit codes.
TEST_CASE("quantiser: cachegen's keys have the bytes of values, and only quantised ones ask for it",
          "[memory_bank][kv][quantise]") {
  CodecOptions options;
  options.key_bits = options.value_bits = 4;
  options.boundary_bits = 4;
  options.quantiser = "cachegen";
  const Memory memory = memory_of(options, at::kFloat, /*everything=*/true);
  const auto record = encode_record(memory);
  CHECK(record[4] == std::byte{5});
  CHECK(same_memory(decode_record(record), memory));
  CHECK(memory.stored->layers[0].section.size() ==
        static_cast<std::size_t>(2 * kKvHeads * kTokens * (4 + 4)));
  options.key_bits = options.value_bits = 16;
  options.boundary_bits = 0;
  CHECK(resolve_settings(options).quantiser == memory_bank::Quantiser::minmax);
}

TEST_CASE("tail: the answers lie nearer to those of the whole than without it",
          "[memory_bank][kv][tail]") {
  const TinyModel model;
  const std::vector<Chunk> chunks = {chunk_of(10, 90)};
  const auto logits = [&](const CodecOptions& options) {
    const auto codec = model.make("kv", options);
    const auto memories = compress(*codec, chunks);
    return model.ask(codec->to_prefix(memories, 8));
  };
  const at::Tensor whole = logits({});
  const double lost = difference(logits(mixed(0, 8)), whole);
  const double kept = difference(logits(mixed(4, 8)), whole);
  CHECK(kept < lost / 2);
  // A chunk too short to lose a row has no tail.
  const auto codec = model.make("kv", mixed(2, 8));
  const std::vector<Chunk> brief = {chunk_of(33, 20)};
  CHECK(encode_record(codec->compress(brief)[0])[4] == std::byte{2});
}

TEST_CASE("tail: settings that contradict it are refused by name", "[memory_bank][kv][tail]") {
  CodecOptions options = mixed(2);
  options.merge = "compensation";
  CHECK_THROWS_WITH(resolve_settings(options), Catch::Matchers::Contains("codec.merge"));
  options = mixed(5);
  CHECK_THROWS_WITH(resolve_settings(options),
                    Catch::Matchers::Contains("codec.tail_bits must be 2, 3 or 4"));
  options = mixed(2);
  options.key_bits = options.value_bits = 16;
  options.boundary_bits = 0;
  CHECK_THROWS_WITH(resolve_settings(options), Catch::Matchers::Contains("tail_bits is 2"));
  options = mixed(2);
  options.quantiser = "finest";
  CHECK_THROWS_WITH(resolve_settings(options), Catch::Matchers::Contains("minmax, cachegen"));
}

}  // namespace alluvium::tests
