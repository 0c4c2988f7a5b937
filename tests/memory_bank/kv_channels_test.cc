// Key channels that a record leaves out.
#include <cmath>
#include <cstring>

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_codec.h"
#include "alluvium/memory_bank/kv_family.h"
#include "alluvium/memory_bank/kv_record.h"
#include "bank_fixtures.h"
#include "kv/channels.h"
#include "kv/settings.h"
#include "tiny_model.h"

namespace alluvium::tests {
namespace {

using memory_bank::channel_scores;
using memory_bank::choose_channels;
using memory_bank::decode_record;
using memory_bank::encode_record;
using memory_bank::HeadChannels;
using memory_bank::KeptRows;
using memory_bank::ObservedReading;
using memory_bank::query_energy;

constexpr int64_t kSlots = TinyLlama::kLayers * TinyLlama::kKvHeads;
constexpr int64_t kWidth = TinyLlama::kHeadWidth;

CodecOptions pruning(double key_channels, double keep = 1) {
  CodecOptions options;
  options.observer = "keydiff";
  options.keep = keep;
  options.key_channels = key_channels;
  return options;
}

at::Tensor rows_of(const std::vector<float>& numbers, int64_t width) {
  return at::tensor(numbers, at::kFloat).view({1, 1, -1, width});
}

}  // namespace

// kv_memory.md, vector V10: mean squares of the queries (5, 2), of the keys (2, 1).
TEST_CASE("channels: ThinK's weights by hand", "[memory_bank][kv][channels][oracle]") {
  const at::Tensor energy = query_energy(rows_of({1, 2, 3, 0}, 2), 1);
  const at::Tensor scores = channel_scores(energy[0][0], rows_of({2, 1, 0, 1}, 2)[0][0]);
  CHECK(scores.equal(at::tensor({10.0, 2.0}, at::kDouble)));
}

TEST_CASE("channels: queries count over the heads of a group", "[memory_bank][kv][channels]") {
  // Two layers, four heads of two groups, one token.
  const at::Tensor queries =
      at::tensor({1.0, 0.0, 3.0, 2.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 0.0, 4.0, 0.0, 0.0, 0.0},
                 at::kFloat)
          .view({2, 4, 1, 2});
  const at::Tensor energy = query_energy(queries, 2);
  CHECK(energy.equal(
      at::tensor({5.0, 2.0, 0.5, 0.5, 4.0, 2.0, 8.0, 0.0}, at::kFloat).view({2, 2, 2})));
}

TEST_CASE(
    "channels: pairs are kept by the sum of their weights, a constant one is held by its mean",
    "[memory_bank][kv][channels]") {
  // Pairs (0, 3), (1, 4), (2, 5). Less the mean, the first moves by 1 in channel 0, the second by 2 in
  // channel 4, the third lies at (50, 60) and moves not at all.
  const at::Tensor keys = rows_of({1, 7, 50, 0, 2, 60, -1, 7, 50, 0, -2, 60}, 6);
  const at::Tensor ones = at::full({1, 1, 6}, 1.0, at::kFloat);
  const auto two = choose_channels(keys, ones, {}, 0.6);
  REQUIRE(two.size() == 1);
  CHECK(two[0].kept == std::vector<int64_t>{0, 1, 3, 4});
  CHECK(two[0].constant == std::vector<float>{50, 60});
  const auto one = choose_channels(keys, ones, {}, 0.1);
  CHECK(one[0].kept == std::vector<int64_t>{1, 4});
  CHECK(one[0].constant == std::vector<float>{0, 50, 0, 60});
  // Queries that use channel 0 four times as much as any turn the order.
  const at::Tensor asked = at::tensor({5.0, 1.0, 1.0, 1.0, 1.0, 1.0}, at::kFloat).view({1, 1, 6});
  CHECK(choose_channels(keys, asked, {}, 0.1)[0].kept == std::vector<int64_t>{0, 3});
  // Of the kept rows alone: the first has nothing that moves, and ties go to the first pair.
  KeptRows first;
  first.counts = {1};
  first.positions = at::zeros({1}, at::kLong);
  const auto tied = choose_channels(keys, ones, first, 0.3);
  CHECK(tied[0].kept == std::vector<int64_t>{0, 3});
  CHECK(tied[0].constant == std::vector<float>{7, 50, 2, 60});
  // Every pair, and as good as every pair.
  CHECK(choose_channels(keys, ones, {}, 1).empty());
  CHECK(choose_channels(keys, ones, {}, 0.9).empty());
}

TEST_CASE("channels: a share of 1 is the identity, byte for byte", "[memory_bank][kv][channels]") {
  const TinyModel model;
  CodecOptions options;
  options.preset = GENERATE(from_range(memory_bank::kv_presets()));
  CAPTURE(options.preset);
  const std::vector<Chunk> chunks = {chunk_of(10, 90), chunk_of(7, 20)};
  const auto plain = model.make("kv", options);
  options.key_channels = 1;
  const auto whole = model.make("kv", options);
  CHECK(whole->fingerprint() == plain->fingerprint());
  const auto expected = plain->compress(chunks);
  const auto memories = whole->compress(chunks);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    CHECK((encode_record(memories[i]) == encode_record(expected[i])));
  }
}

TEST_CASE("channels: kept ones are the whole memory's, the others their mean",
          "[memory_bank][kv][channels][property]") {
  const TinyModel model;
  const double keep = GENERATE(0.4, 1.0);
  const int64_t bits = GENERATE(0, 16, 32);
  const double share = GENERATE(0.25, 0.5, 0.75);
  CAPTURE(keep, bits, share);
  CodecOptions options = pruning(share, keep);
  options.key_bits = options.value_bits = bits;
  const std::vector<Chunk> chunks = {chunk_of(10, 90)};
  const Memory pruned = model.make("kv", options)->compress(chunks)[0];
  options.key_channels = 1;
  const Memory whole = model.make("kv", options)->compress(chunks)[0];
  CHECK(pruned.kept.counts == whole.kept.counts);
  CHECK(same_bits(pruned.values, whole.values));
  const auto slot_of = [&](const Memory& memory, int64_t slot, int64_t& first) {
    if (memory.kept.everything()) {
      return memory.keys.flatten(0, 1)[slot];
    }
    const int64_t count = memory.kept.counts[static_cast<std::size_t>(slot)];
    first += count;
    return memory.keys.narrow(0, first - count, count);
  };
  int64_t first = 0;
  int64_t first_whole = 0;
  for (int64_t slot = 0; slot < kSlots; ++slot) {
    const at::Tensor keys = slot_of(pruned, slot, first).to(at::kFloat);
    const at::Tensor all = slot_of(whole, slot, first_whole).to(at::kFloat);
    int64_t kept = 0;
    for (int64_t c = 0; c < kWidth; ++c) {
      if (keys.select(1, c).equal(all.select(1, c))) {
        ++kept;
        continue;
      }
      CHECK(difference(keys.select(1, c), all.select(1, c).mean().expand({keys.size(0)})) < 2e-3);
      CHECK(keys.select(1, c).equal(keys[0][c].expand({keys.size(0)})));
      CHECK_FALSE(keys.select(1, (c + kWidth / 2) % kWidth)
                      .equal(all.select(1, (c + kWidth / 2) % kWidth)));
    }
    CHECK(kept == std::llround(share * kWidth / 2) * 2);
  }
}

TEST_CASE("channels: records of fewer channels are of version 4, shorter, and give the same memory",
          "[memory_bank][kv][channels][record]") {
  const TinyModel model;
  CodecOptions options;
  options.preset = GENERATE(from_range(memory_bank::kv_presets()));
  options.merge = GENERATE("none", "compensation");
  options.key_channels = 0.5;
  CAPTURE(options.preset, options.merge);
  for (const Chunk& chunk : {chunk_of(10, 120), chunk_of(5, 3)}) {
    const Memory memory = model.make("kv", options)->compress({&chunk, 1})[0];
    const auto record = encode_record(memory);
    CHECK(record[4] == std::byte{4});
    CHECK((record[6] & std::byte{16}) == std::byte{16});
    CHECK(same_memory(decode_record(record), memory));
    CodecOptions all = options;
    all.key_channels = 1;
    if (chunk.tokens.size() > 100) {
      CHECK(record.size() < encode_record(model.make("kv", all)->compress({&chunk, 1})[0]).size());
    }
  }
}

// 70 tokens, 2 layers of 2 heads, all rows, 4 of 8 channels: a mask of 1 byte, 4 means of 2, keys 70 * 4
// float32, values 70 * 8.
TEST_CASE("channels: a section is as long as its layout says",
          "[memory_bank][kv][channels][record]") {
  const TinyModel model;
  const auto record =
      encode_record(model.make("kv", pruning(0.5))->compress(std::vector{chunk_of(10, 70)})[0]);
  uint64_t section[2];
  std::memcpy(section, record.data() + (128 + 2 * 70 + 63) / 64 * 64, sizeof(section));
  CHECK(section[1] == 2 * (1 + 4 * 2 + 70 * 4 * 4 + 70 * 8 * 4));
}

TEST_CASE("channels: keys that move in few channels lose nothing",
          "[memory_bank][kv][channels][property]") {
  const c10::InferenceMode inference;
  const TinyModel model;
  CodecOptions options = pruning(0.5);
  options.positions = GENERATE("parallel", "sequential");
  CAPTURE(options.positions);
  const auto stages = make_kv_stages(model.context(options));
  CodecOptions all = options;
  all.key_channels = 1;
  const auto whole = make_kv_stages(model.context(all));
  CHECK(stages->reads_queries());
  CHECK_FALSE(whole->reads_queries());
  Memories pruned;
  Memories full;
  for (const TokenId start : {10, 40}) {
    const Chunk chunk = chunk_of(start, 70);
    ObservedReading reading = stages->observe({&chunk, 1})[0];
    reading.keys = reading.keys.clone();
    for (const int64_t channel : {1, 5, 3, 7}) {
      reading.keys.select(3, channel).fill_(0.25 * static_cast<double>(channel) - 1);
    }
    pruned.push_back(
        std::make_shared<const Memory>(decode_record(encode_record(stages->keep(chunk, reading)))));
    full.push_back(std::make_shared<const Memory>(whole->keep(chunk, reading)));
    CHECK(same_bits(pruned.back()->keys, full.back()->keys));
  }
  CHECK(difference(model.ask(stages->codec().to_prefix(pruned, 10)),
                   model.ask(whole->codec().to_prefix(full, 10))) == 0);
}

TEST_CASE("channels: a reading without queries serves those who keep every channel alone",
          "[memory_bank][kv][channels]") {
  const TinyModel model;
  const Chunk chunk = chunk_of(10, 80);
  const auto pruned = make_kv_stages(model.context(pruning(0.5, 0.4)));
  const auto whole = make_kv_stages(model.context(pruning(1, 0.4)));
  CHECK(whole->takes_readings_of(*pruned));
  CHECK_FALSE(pruned->takes_readings_of(*whole));
  CHECK(pruned->takes_readings_of(*pruned));
  const auto with = pruned->observe({&chunk, 1})[0];
  const auto without = whole->observe({&chunk, 1})[0];
  CHECK(with.query_energy.sizes() ==
        at::IntArrayRef{TinyLlama::kLayers, TinyLlama::kKvHeads, kWidth});
  CHECK_FALSE(without.query_energy.defined());
  CHECK_THROWS_AS(pruned->keep(chunk, without), InvalidArgument);
  CHECK((encode_record(whole->keep(chunk, with)) == encode_record(whole->keep(chunk, without))));
}

TEST_CASE("channels: the gate stores chunks of few channels richer as any",
          "[memory_bank][kv][channels][family]") {
  const TinyModel model;
  CodecOptions options;
  options.preset = "tiny";
  options.key_channels = 0.5;
  options.richer_share = 0.5;
  const memory_bank::KvFamily family(model.context(options));
  bool richer = false;
  for (TokenId first = 1; !richer && first < 60; ++first) {
    const Memory memory = family.compress(std::vector{chunk_of(first, 80)})[0];
    richer = memory.origin.preset == "compact";
    CHECK(memory.origin.aim == family.aim());
  }
  CHECK(richer);
}

TEST_CASE("channels: a mean that float16 does not hold becomes no memory",
          "[memory_bank][kv][channels]") {
  const TinyModel model;
  const Chunk chunk = chunk_of(10, 70);
  const auto stages = make_kv_stages(model.context(pruning(0.5)));
  ObservedReading reading = stages->observe({&chunk, 1})[0];
  reading.keys = reading.keys.clone();
  reading.keys.select(3, 2).fill_(70000);
  reading.keys.select(3, 6).fill_(0);
  CHECK_THROWS_AS(stages->keep(chunk, reading), NumericError);
  for (const double number : {std::nan(""), HUGE_VAL}) {
    ObservedReading other = stages->observe({&chunk, 1})[0];
    other.keys = other.keys.clone();
    other.keys[1][0][40][3] = number;
    CHECK_THROWS_AS(stages->keep(chunk, other), NumericError);
  }
}

TEST_CASE("channels: a share outside (0, 1] is refused", "[memory_bank][kv][channels]") {
  for (const double share : {-0.1, 1.01, std::nan("")}) {
    CodecOptions options;
    options.key_channels = share;
    CHECK_THROWS_AS(memory_bank::resolve_settings(options), InvalidArgument);
  }
}

}  // namespace alluvium::tests
