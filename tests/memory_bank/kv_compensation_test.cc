// The row that stands for all the rows a layer and head lost.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

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
#include "kv/compensation.h"
#include "prefix_layout.h"
#include "record_damage.h"
#include "record_directory.h"
#include "tiny_model.h"

namespace alluvium::tests {
namespace {

using memory_bank::decode_record;
using memory_bank::encode_record;
using memory_bank::KeptRows;
using memory_bank::ObservedReading;

constexpr int64_t kSlots = TinyLlama::kLayers * TinyLlama::kKvHeads;
constexpr std::size_t kRowBytes = 4 + 4 * TinyLlama::kHeadWidth;

CodecOptions compensating(double keep) {
  CodecOptions options;
  options.observer = "random";
  options.budget = "uniform";
  options.keep = keep;
  options.merge = "compensation";
  return options;
}

KeptRows kept_in_one_slot(const std::vector<int64_t>& positions) {
  KeptRows rows;
  rows.counts = {static_cast<int64_t>(positions.size())};
  rows.positions = at::tensor(positions, at::kLong);
  return rows;
}

void check_row(const at::Tensor& row, const std::vector<double>& expected, double tolerance) {
  REQUIRE(row.numel() == static_cast<int64_t>(expected.size()));
  for (std::size_t c = 0; c < expected.size(); ++c) {
    CAPTURE(c);
    CHECK_THAT(row[static_cast<int64_t>(c)].item<double>(),
               Catch::Matchers::WithinAbs(expected[c], tolerance));
  }
}

/// A reading of a chunk whose first half is kept and whose second half, wherever it is loaded, looks to
/// every query like one row many times: keys that rotation makes equal, in float16 exactly.
ObservedReading repetitive_reading(const TinyModel& model, const memory_bank::KvStages& stages,
                                   const Chunk& chunk) {
  ObservedReading reading = stages.observe({&chunk, 1})[0];
  const int64_t n = reading.keys.size(2);
  const int64_t half = n / 2;
  const backbone::Rope rope(TinyLlama::kHeadWidth, model.decoder->geometry().rope_base, n);
  reading.keys = reading.keys.clone();
  reading.values = reading.values.clone();
  // R(-t) k = R(n - t) R(-n) k, and R(-n) is R(n) between two reflections of the second half.
  const at::Tensor key = at::tensor({0.5, -1.25, 0.75, 1.0, -0.5, 0.25, 1.5, -0.75}, at::kFloat);
  const at::Tensor mirror = at::tensor({1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0}, at::kFloat);
  for (int64_t t = half; t < n; ++t) {
    const at::Tensor turned =
        rope.rotate((key * mirror).unsqueeze(0), at::full({1}, t, at::kLong)) * mirror;
    reading.keys.select(2, t).copy_(turned.expand({TinyLlama::kLayers, TinyLlama::kKvHeads, -1}));
    reading.values.select(2, t).fill_(0.375);
  }
  reading.rows.scores = at::zeros({TinyLlama::kLayers, TinyLlama::kKvHeads, n}, at::kFloat);
  reading.rows.scores.narrow(2, 0, half).fill_(1);
  return reading;
}

std::shared_ptr<const Memory> through_record(const Memory& memory) {
  return std::make_shared<const Memory>(decode_record(encode_record(memory)));
}

/// Where a layer's section begins and ends, from the directory.
std::pair<std::size_t, std::size_t> section_of(const std::vector<std::byte>& record,
                                               std::size_t layer) {
  uint64_t place[2];
  std::memcpy(place, record.data() + directory_at(record) + kEntryBytes * layer, sizeof(place));
  return {place[0], place[0] + place[1]};
}

}  // namespace

// kv_memory.md, vector V7: k~1 at token 1 and k~2 at token 2 were lost, token 0 is kept.
TEST_CASE("compensation: the mean of rotated keys by hand, at any place",
          "[memory_bank][kv][compensation][oracle]") {
  const backbone::Rope rope(4, 1e5, 16);
  const at::Tensor keys =
      at::tensor({9.0, 9.0, 9.0, 9.0, 1.0, 0.0, 0.5, 0.2, 0.5, 0.1, 1.0, 0.3}, at::kFloat)
          .view({1, 1, 3, 4});
  const at::Tensor values =
      at::tensor({7.0, 7.0, 7.0, 7.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0, 0.0}, at::kFloat)
          .view({1, 1, 3, 4});
  const auto rows = memory_bank::compensate(keys, values, kept_in_one_slot({0}), rope);
  CHECK(rows.counts == std::vector<int64_t>{2});
  check_row(rows.keys[0], {-0.498902, 0.048734, 0.575062, 0.250313}, 1e-6);
  check_row(rows.values[0], {2, 2, 2, 2}, 1e-6);
  const auto at_place = [&](const at::Tensor& key, int64_t place) {
    return rope.rotate(key.view({1, 4}), at::full({1}, place, at::kLong))[0];
  };
  const std::vector<double> moved = {0.217571, 0.041591, -0.729563, 0.251598};
  check_row(at_place(rows.keys[0], 9), moved, 1e-6);
  check_row((at_place(keys[0][0][1], 10) + at_place(keys[0][0][2], 11)) / 2, moved, 1e-6);
}

TEST_CASE(
    "compensation: nothing lost, no row; a head that lost nothing, a row that stands for none",
    "[memory_bank][kv][compensation]") {
  const backbone::Rope rope(4, 1e5, 16);
  const at::Tensor keys = at::full({1, 2, 3, 4}, 2.0, at::kFloat);
  CHECK(memory_bank::compensate(keys, keys, {}, rope).counts.empty());
  KeptRows kept;
  kept.counts = {3, 1};
  kept.positions = at::tensor({0, 1, 2, 1}, at::kLong);
  Memory memory;
  memory.compensation = memory_bank::compensate(keys, keys, kept, rope);
  CHECK(memory.compensation.counts == std::vector<int64_t>{0, 2});
  check_row(memory.compensation.keys[0], {0, 0, 0, 0}, 0);
  const backbone::KvSegment segment = memory_bank::place_compensation(memory, 5);
  CHECK(segment.row_counts == std::vector<int64_t>{1, 1});
  CHECK(segment.positions.equal(at::full({2}, 5, at::kLong)));
  CHECK(segment.log_bias[0].item<float>() == -std::numeric_limits<float>::infinity());
  CHECK_THAT(segment.log_bias[1].item<double>(), Catch::Matchers::WithinAbs(std::log(2.0), 1e-6));
}

// Vector T6: one row for c equal ones, with the logarithm of c on its logit, is the same to every query.
TEST_CASE("compensation: a memory whose lost rows look alike answers as the whole chunk",
          "[memory_bank][kv][compensation][property]") {
  const c10::InferenceMode inference;
  const TinyModel model;
  CodecOptions options = compensating(0.5);
  options.temperature = options.lse_scale = GENERATE(1.0, 0.8);
  options.positions = GENERATE("parallel", "sequential");
  const std::size_t documents = GENERATE(1U, 2U);
  CAPTURE(options.temperature, options.positions, documents);
  const auto stages = make_kv_stages(model.context(options));
  CodecOptions all = options;
  all.keep = 1;
  const auto whole = make_kv_stages(model.context(all));
  Memories compressed;
  Memories full;
  for (std::size_t i = 0; i < documents; ++i) {
    const Chunk chunk = chunk_of(static_cast<TokenId>(10 + i), 64 + 8 * i);
    const ObservedReading reading = repetitive_reading(model, *stages, chunk);
    const Memory memory = stages->keep(chunk, reading);
    const auto n = static_cast<int64_t>(chunk.tokens.size());
    REQUIRE(memory.kept.counts == std::vector<int64_t>(kSlots, n / 2));
    REQUIRE(memory.compensation.counts == std::vector<int64_t>(kSlots, n / 2));
    compressed.push_back(through_record(memory));
    full.push_back(std::make_shared<const Memory>(whole->keep(chunk, reading)));
  }
  const backbone::KvPrefix prefix = stages->codec().to_prefix(compressed, 10);
  CHECK(prefix.segments.size() == 1 + 2 * documents);
  const backbone::KvPrefix expected = whole->codec().to_prefix(full, 10);
  CHECK(prefix.next_position == expected.next_position);
  CHECK(prefix.temperature == expected.temperature);
  CHECK(difference(model.ask(prefix), model.ask(expected)) < 1e-5);
  // Without the row, or with one that weighs once, the answer is another.
  Memories lost;
  for (const auto& memory : compressed) {
    auto other = std::make_shared<Memory>(*memory);
    other->compensation = {};
    lost.push_back(std::move(other));
  }
  CHECK(difference(model.ask(stages->codec().to_prefix(lost, 10)), model.ask(expected)) > 1e-3);
  backbone::KvPrefix once = prefix;
  for (backbone::KvSegment& segment : once.segments) {
    segment.log_bias = at::Tensor();
  }
  CHECK(difference(model.ask(once), model.ask(expected)) > 1e-3);
}

TEST_CASE("compensation: a row that stands for none is never attended to",
          "[memory_bank][kv][compensation]") {
  const c10::InferenceMode inference;
  const TinyModel model;
  const auto codec = model.make("kv", compensating(0.4));
  auto memory = std::make_shared<Memory>(codec->compress(std::vector{chunk_of(10, 90)})[0]);
  const at::Tensor with = model.ask(codec->to_prefix(Memories{memory}, 10));
  memory->compensation.counts[1] = 0;
  const at::Tensor without = model.ask(codec->to_prefix(Memories{memory}, 10));
  CHECK(difference(with, without) > 1e-6);
  memory->compensation.keys = memory->compensation.keys.clone();
  memory->compensation.values = memory->compensation.values.clone();
  memory->compensation.keys[1].fill_(1e4);
  memory->compensation.values[1].fill_(-1e4);
  CHECK(difference(model.ask(codec->to_prefix(Memories{memory}, 10)), without) == 0);
}

TEST_CASE(
    "compensation: records are of version 4, a row and a count longer, and give the same memory",
    "[memory_bank][kv][compensation][record]") {
  const TinyModel model;
  CodecOptions options = compensating(0.4);
  const auto [preset, bits] =
      GENERATE(std::pair<const char*, int64_t>{"lossless", 0}, std::pair{"lossless", 16},
               std::pair{"default", 0}, std::pair{"compact", 0}, std::pair{"tiny", 0});
  options.preset = preset;
  options.key_bits = options.value_bits = bits;
  options.entropy = "none";  // sections as they are laid out
  CAPTURE(options.preset, options.key_bits);
  const std::vector<Chunk> chunks = {chunk_of(10, 90)};
  const Memory memory = model.make("kv", options)->compress(chunks)[0];
  const auto record = encode_record(memory);
  CHECK(record[4] == std::byte{4});
  const auto read = through_record(memory);
  CHECK(same_memory(*read, memory));
  CHECK(read->compensation.keys.scalar_type() == memory.keys.scalar_type());
  Memory bare = *read;
  bare.compensation = {};
  CHECK(read->resident_bytes() - bare.resident_bytes() ==
        std::size_t{kSlots} * (8 + 2 * TinyLlama::kHeadWidth * memory.keys.element_size()));

  CodecOptions none = options;
  none.merge = "none";
  const Memory lost = model.make("kv", none)->compress(chunks)[0];
  const auto shorter = encode_record(lost);
  CHECK(shorter[4] < std::byte{4});
  for (std::size_t layer = 0; layer < TinyLlama::kLayers; ++layer) {
    const auto [begin, end] = section_of(record, layer);
    const auto [lost_begin, lost_end] = section_of(shorter, layer);
    REQUIRE(end - begin == lost_end - lost_begin + TinyLlama::kKvHeads * kRowBytes);
    CHECK(std::equal(shorter.begin() + static_cast<std::ptrdiff_t>(lost_begin),
                     shorter.begin() + static_cast<std::ptrdiff_t>(lost_end),
                     record.begin() + static_cast<std::ptrdiff_t>(begin)));
  }
  // A chunk that loses nothing is kept as before.
  const std::vector<Chunk> small = {chunk_of(10, 30)};
  const auto whole = encode_record(model.make("kv", options)->compress(small)[0]);
  CHECK(whole[4] < std::byte{4});
}

TEST_CASE(
    "compensation: a changed byte, a missing end or rows that contradict each other are found",
    "[memory_bank][kv][compensation][record][property]") {
  const TinyModel model;
  CodecOptions options = compensating(0.4);
  options.preset = "compact";
  const auto record =
      encode_record(model.make("kv", options)->compress(std::vector{chunk_of(10, 90)})[0]);
  REQUIRE(record[6] == std::byte{11});
  require_damage_is_found(record);
  const std::size_t row = section_of(record, 1).second - kRowBytes;
  REQUIRE_NOTHROW(decode_record(forge(record, row + 4, uint16_t{0x3c00})));
  for (const uint32_t count : {0U, 1U, 53U, 90U, 0xffffffffU}) {
    CAPTURE(count);
    CHECK_THROWS_AS(decode_record(forge(record, row, count)), DataCorruption);
  }
  for (const uint16_t number : {uint16_t{0x7c00}, uint16_t{0xfc00}, uint16_t{0x7e01}}) {
    CHECK_THROWS_AS(decode_record(forge(record, row + 4, number)), DataCorruption);
    CHECK_THROWS_AS(decode_record(forge(record, row + kRowBytes - 2, number)), DataCorruption);
  }
  // Flags that do not fit the sections.
  for (const auto flags : {uint16_t{3}, uint16_t{8}, uint16_t{9}, uint16_t{10}}) {
    CAPTURE(flags);
    CHECK_THROWS_AS(decode_record(forge(record, 6, flags)), DataCorruption);
  }
  CHECK_THROWS_AS(decode_record(forge(record, 4, uint16_t{3})), NotSupported);
}

TEST_CASE("compensation: a mean that float16 does not hold becomes no memory",
          "[memory_bank][kv][compensation]") {
  const TinyModel model;
  const Chunk chunk = chunk_of(10, 64);
  const auto stages = make_kv_stages(model.context(compensating(0.5)));
  const ObservedReading reading = repetitive_reading(model, *stages, chunk);
  for (const double number : {std::nan(""), HUGE_VAL, 1e8}) {
    for (const bool of_keys : {true, false}) {
      CAPTURE(number, of_keys);
      ObservedReading other = reading;
      at::Tensor& tensor = of_keys ? other.keys : other.values;
      tensor = tensor.clone();
      tensor[1][0][40][3] = number;  // of a row that is lost
      CHECK_THROWS_AS(stages->keep(chunk, other), NumericError);
    }
  }
}

TEST_CASE("compensation: a family attends to its rows whatever the preset in force",
          "[memory_bank][kv][compensation][family]") {
  const c10::InferenceMode inference;
  const TinyModel model;
  CodecOptions options = compensating(0.4);
  options.preset = "tiny";
  memory_bank::KvFamily family(model.context(options));
  const std::vector<Chunk> chunks = {chunk_of(10, 90)};
  const Memories memories = compress(family, chunks);
  CHECK(memories[0]->origin.preset == "custom");
  const auto alone = model.make("kv", options);
  const at::Tensor expected = model.ask(alone->to_prefix(compress(*alone, chunks), 10));
  CHECK(difference(model.ask(family.to_prefix(memories, 10)), expected) == 0);
  family.switch_to("lossless");
  CHECK(difference(model.ask(family.to_prefix(memories, 10)), expected) == 0);
}

}  // namespace alluvium::tests
