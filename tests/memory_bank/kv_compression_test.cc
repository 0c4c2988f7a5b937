// The kv codec with evicted and quantised memories, on the tiny Llama.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_codec.h"
#include "alluvium/memory_bank/kv_record.h"
#include "bank_fixtures.h"
#include "kv/budget.h"
#include "kv/observer.h"
#include "kv/settings.h"
#include "record_damage.h"
#include "record_directory.h"
#include "support/thread_count.h"
#include "tiny_model.h"

namespace alluvium::tests {
namespace {

using memory_bank::decode_record;
using memory_bank::encode_record;

CodecOptions preset(const std::string& name) {
  CodecOptions options;
  options.preset = name;
  return options;
}

CodecOptions evicting(const std::string& observer, double keep) {
  CodecOptions options;  // as computed: nothing but eviction
  options.observer = observer;
  options.keep = keep;
  return options;
}

std::shared_ptr<const Memory> through_record(const Memory& memory) {
  return std::make_shared<const Memory>(decode_record(encode_record(memory)));
}

}  // namespace

TEST_CASE("kv: keeping every row is the identity for every observer", "[memory_bank][kv]") {
  const TinyModel model;
  const std::string observer = GENERATE(from_range(memory_bank::observer_names()));
  const std::string budget = GENERATE(from_range(memory_bank::budget_names()));
  CAPTURE(observer, budget);
  const std::vector<Chunk> chunks = {chunk_of(10, 80)};
  const Memory plain = model.make("kv")->compress(chunks)[0];
  const auto keeping = [&](double keep) {
    CodecOptions options = evicting(observer, keep);
    options.budget = budget;
    return model.context(options);
  };
  const auto check_whole = [&](const Memory& memory) {
    CHECK(memory.kept.everything());
    CHECK(same_bits(memory.keys, plain.keys));
    CHECK(same_bits(memory.values, plain.values));
  };

  // What an observer said while another share was asked for, shared out whole.
  const auto reading = make_kv_stages(keeping(0.5))->observe(chunks)[0];
  const at::Tensor scores = reading.rows.scores;
  REQUIRE(scores.sizes() == at::IntArrayRef{TinyLlama::kLayers, TinyLlama::kKvHeads, 80});
  const memory_bank::BudgetOptions all{
      .budget = budget, .keep = 1.0, .floor_rows = 8, .keep_mask = {}};
  CHECK(share_rows(scores, all) ==
        std::vector<int64_t>(TinyLlama::kLayers * TinyLlama::kKvHeads, 80));
  CHECK(choose_rows(scores, all).everything());
  check_whole(make_kv_stages(keeping(1.0))->keep(chunks[0], reading));
  // A share that rounds to every row takes the whole way: observer, budget, rows.
  const auto nearly = model.registry.make("kv", keeping(0.999));
  check_whole(nearly->compress(chunks)[0]);
  CHECK(nearly->fingerprint() != plain.fingerprint);
  CHECK(model.registry.make("kv", keeping(1.0))->fingerprint() == plain.fingerprint);
}

TEST_CASE("kv: every observer keeps the rows asked for, the same ones each time",
          "[memory_bank][kv]") {
  const TinyModel model;
  const std::string observer = GENERATE(from_range(memory_bank::observer_names()));
  const std::string budget = GENERATE(from_range(memory_bank::budget_names()));
  CAPTURE(observer, budget);
  CodecOptions options = evicting(observer, 0.4);
  options.budget = budget;
  const auto codec = model.make("kv", options);
  const std::vector<Chunk> chunks = {chunk_of(10, 90), chunk_of(33, 20), chunk_of(70, 66)};
  const auto together = codec->compress(chunks);
  CHECK(together[1].kept.everything());  // too short to lose a row
  for (const std::size_t i : {0U, 2U}) {
    const Memory& memory = together[i];
    const std::vector<int64_t>& counts = memory.kept.counts;
    REQUIRE(counts.size() == TinyLlama::kLayers * TinyLlama::kKvHeads);
    const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    CHECK(memory.keys.size(0) == rows);
    CHECK(memory.kept.positions.numel() == rows);
    // No floor and no mask reaches 0.4 of these chunks.
    const auto of_head = 0.4 * static_cast<double>(chunks[i].tokens.size());
    if (budget == "global") {
      CHECK(rows == std::llround(4 * of_head));
    } else {
      CHECK(counts[0] == counts[1]);
      CHECK(counts[2] == counts[3]);
    }
    if (budget == "uniform") {
      CHECK(counts == std::vector<int64_t>(4, std::llround(of_head)));
    }
    if (budget == "curves") {
      CHECK(counts[0] + counts[2] == std::llround(2 * of_head));
      CHECK(std::min(counts[0], counts[2]) >= 16);
    }
    if (budget == "d2o") {
      CHECK(counts[0] + counts[2] == std::llround(2 * of_head));
    }
    if (budget == "pyramid") {
      CHECK(counts[0] > counts[2]);
      // What must be kept lifts the last layer.
      CHECK(std::abs(static_cast<double>(rows) / (10 * of_head) - 0.4) < 0.12);
    }
    const auto* position = memory.kept.positions.const_data_ptr<int64_t>();
    for (const int64_t count : counts) {
      CHECK(count >= 8);
      for (int64_t first = 0; first < 4; ++first) {
        CHECK(position[first] == first);  // the chunk's first rows
      }
      CHECK(std::adjacent_find(position, position + count, std::greater_equal<>()) ==
            position + count);
      CHECK(position[count - 1] < memory.length());
      position += count;
    }
    for (const int threads : {1, 2, 4}) {
      const ThreadCount count(threads);
      CAPTURE(threads);
      const auto alone = codec->compress(std::span(chunks).subspan(i, 1));
      CHECK(alone[0].kept.counts == counts);
      CHECK(same_bits(alone[0].kept.positions, memory.kept.positions));
    }
  }
}

TEST_CASE(
    "kv: every merge keeps the rows chosen, in records of the same size but for one row more, "
    "the same each time",
    "[memory_bank][kv]") {
  const TinyModel model;
  const std::string merge = GENERATE(from_range(memory_bank::merge_names()));
  CAPTURE(merge);
  const std::vector<Chunk> chunks = {chunk_of(10, 90)};
  CodecOptions options = evicting("keydiff", 0.4);
  const Memory lost = model.make("kv", options)->compress(chunks)[0];
  options.merge = merge;
  const auto codec = model.make("kv", options);
  const Memory memory = codec->compress(chunks)[0];
  CHECK(memory.kept.counts == lost.kept.counts);
  CHECK(same_bits(memory.kept.positions, lost.kept.positions));
  const bool keys_merge = merge == "neighbours" || merge == "d2o" || merge == "ems";
  CHECK(same_bits(memory.keys, lost.keys) != keys_merge);
  CHECK(same_bits(memory.values, lost.values) == (merge == "none" || merge == "compensation"));
  CHECK((encode_record(memory).size() == encode_record(lost).size()) == (merge != "compensation"));
  CHECK(same_memory(*through_record(memory), memory));
  for (const int threads : {1, 2, 4}) {
    const ThreadCount count(threads);
    CAPTURE(threads);
    const Memory again = codec->compress(chunks)[0];
    CHECK(same_bits(again.kept.positions, memory.kept.positions));
    CHECK(same_memory(codec->compress(chunks)[0], again));
  }
  options.keep = 1.0;
  CHECK(model.make("kv", options)->compress(chunks)[0].kept.everything());
}

TEST_CASE("kv: evicted rows are the others' own keys and values", "[memory_bank][kv]") {
  const TinyModel model;
  const std::vector<Chunk> chunks = {chunk_of(10, 90)};
  const auto whole = model.make("kv")->compress(chunks)[0];
  const auto kept = model.make("kv", evicting("repeat", 0.3))->compress(chunks)[0];
  const auto* position = kept.kept.positions.const_data_ptr<int64_t>();
  int64_t row = 0;
  for (std::size_t slot = 0; slot < kept.kept.counts.size(); ++slot) {
    const at::Tensor keys = whole.keys.flatten(0, 1)[static_cast<int64_t>(slot)];
    const at::Tensor values = whole.values.flatten(0, 1)[static_cast<int64_t>(slot)];
    for (int64_t i = 0; i < kept.kept.counts[slot]; ++i, ++row) {
      REQUIRE(difference(kept.keys[row], keys[position[row]]) < 1e-6);
      REQUIRE(difference(kept.values[row], values[position[row]]) < 1e-6);
    }
  }
}

TEST_CASE("kv: a ragged memory answers as a whole one whose other rows are removed",
          "[memory_bank][kv][property]") {
  const c10::InferenceMode inference;
  const TinyModel model;
  CodecOptions options = evicting("repeat", 0.4);
  options.temperature = options.lse_scale = GENERATE(1.0, 0.8);
  options.positions = GENERATE("parallel", "sequential");
  CAPTURE(options.temperature, options.positions);
  const auto codec = model.make("kv", options);
  CodecOptions all = options;
  all.keep = 0;
  const auto whole = model.make("kv", all);
  const std::vector<Chunk> chunks = {chunk_of(10, 70), chunk_of(33, 20), chunk_of(70, 66)};
  const Memories kept = compress(*codec, chunks);
  const backbone::KvPrefix ragged = codec->to_prefix(kept, 10);

  backbone::KvPrefix removed = whole->to_prefix(compress(*whole, chunks), 10);
  REQUIRE(removed.segments.size() == ragged.segments.size());
  for (std::size_t s = 0; s < removed.segments.size(); ++s) {
    backbone::KvSegment& segment = removed.segments[s];
    const backbone::KvSegment& rows = ragged.segments[s];
    if (!rows.ragged()) {
      continue;
    }
    segment.log_bias =
        at::full({TinyLlama::kLayers, TinyLlama::kKvHeads, segment.slots()}, -INFINITY, at::kFloat);
    const at::Tensor bias = segment.log_bias.flatten(0, 1);
    int64_t row = 0;
    for (std::size_t slot = 0; slot < rows.row_counts.size(); ++slot) {
      for (int64_t i = 0; i < rows.row_counts[slot]; ++i, ++row) {
        const int64_t at =
            rows.positions[row].item<int64_t>() - segment.positions[0].item<int64_t>();
        bias[static_cast<int64_t>(slot)][at] = 0;
      }
    }
  }
  CHECK(ragged.next_position == removed.next_position);
  CHECK(difference(model.ask(ragged), model.ask(removed)) < 1e-4);
  // One token at a time, after the question.
  const auto step = [&](const backbone::KvPrefix& prefix) {
    backbone::KvCache cache = model.decoder->start(prefix, 3);
    std::vector<at::Tensor> logits;
    for (const TokenId token : {5, 6, 7}) {
      const Tokens one = {token};
      const backbone::ReadRequest request{
          .cache = &cache, .tokens = one, .logits = backbone::Logits::last};
      logits.push_back(model.decoder->read({&request, 1}).front().logits);
    }
    return logits;
  };
  const auto from_ragged = step(ragged);
  const auto from_removed = step(removed);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(difference(from_ragged[i], from_removed[i]) < 1e-4);
  }
}

TEST_CASE("kv: what compress gives is what its record gives", "[memory_bank][kv][record]") {
  const TinyModel model;
  const std::string name = GENERATE("lossless", "safe", "default", "compact", "tiny");
  CAPTURE(name);
  const auto codec = model.make("kv", preset(name));
  for (const Memory& memory : codec->compress(std::vector{chunk_of(10, 90), chunk_of(5, 3)})) {
    const auto read = through_record(memory);
    CHECK(same_memory(*read, memory));
    CHECK(codec->to_prefix(std::vector{read}, 10).next_position ==
          static_cast<int64_t>(kPrefix.size()) + memory.length());
  }
}

TEST_CASE("kv: narrow numbers in every layer, of kept rows or all, are what their record gives",
          "[memory_bank][kv][record]") {
  const TinyModel model;
  CodecOptions options;
  options.key_bits = GENERATE(2, 3, 4);
  options.value_bits = GENERATE(2, 3, 4);
  options.boundary_bits = 2;  // the tiny model has no layers but boundary layers
  options.scale_bits = GENERATE(8, 16);
  options.keep = GENERATE(0.4, 1.0);
  CAPTURE(options.key_bits, options.value_bits, options.scale_bits, options.keep);
  const auto codec = model.make("kv", options);
  const auto memory =
      std::make_shared<const Memory>(codec->compress(std::vector{chunk_of(10, 89)})[0]);
  const LayerBits bits{options.key_bits, options.value_bits};
  CHECK(layer_bits(encode_record(*memory)) == std::vector<LayerBits>(TinyLlama::kLayers, bits));
  const auto read = through_record(*memory);
  CHECK(same_memory(*read, *memory));
  CHECK(read->kept.everything() == (options.keep == 1.0));
  CHECK(difference(model.ask(codec->to_prefix(std::vector{read}, 10)),
                   model.ask(codec->to_prefix(std::vector{memory}, 10))) == 0);
}

TEST_CASE("kv: a chunk with a number that cannot be stored becomes no memory",
          "[memory_bank][kv]") {
  const TinyModel model;
  const std::vector<Chunk> chunks = {chunk_of(10, 90)};
  CodecOptions options;
  std::vector<double> refused = {NAN, INFINITY, -INFINITY};
  double largest = 65504;
  SECTION("as computed") { largest = 3e38; }
  SECTION("as computed, some rows evicted") {
    options = evicting("random", 0.4);
    largest = 3e38;
  }
  SECTION("in float16") { options.key_bits = options.value_bits = 16; }
  SECTION("in float16, some rows evicted") {
    options = evicting("random", 0.4);
    options.key_bits = options.value_bits = 16;
  }
  SECTION("in 8 bits") { options = preset("safe"); }
  SECTION("in few bits, some rows evicted") { options = preset("tiny"); }
  if (largest < 1e5) {
    refused.insert(refused.end(), {65536, -1e6});
  }
  const auto stages = make_kv_stages(model.context(options));
  const auto reading = stages->observe(chunks)[0];
  const auto keep_with = [&](const char* where, double number) {
    auto other = reading;
    at::Tensor& tensor = std::string(where) == "keys" ? other.keys : other.values;
    tensor = tensor.clone();
    tensor[1][0][2][5] = number;  // of a row that is always kept
    return stages->keep(chunks[0], other);
  };
  for (const char* where : {"keys", "values"}) {
    for (const double number : refused) {
      CAPTURE(where, number);
      CHECK_THROWS_AS(keep_with(where, number), NumericError);
    }
    CHECK_NOTHROW(keep_with(where, largest));
    CHECK_NOTHROW(keep_with(where, -largest));
  }
}

TEST_CASE("kv: a changed byte anywhere in a compressed record is found",
          "[memory_bank][kv][record][property]") {
  const TinyModel model;
  CodecOptions options = preset("compact");
  options.key_bits = options.value_bits = options.boundary_bits = 3;
  const auto record =
      encode_record(model.make("kv", options)->compress(std::vector{chunk_of(10, 90)})[0]);
  REQUIRE(layer_bits(record) == std::vector<LayerBits>(TinyLlama::kLayers, {3, 3}));
  require_damage_is_found(record);
}

TEST_CASE("kv: smaller presets make smaller records, and safe ones stay near the text",
          "[memory_bank][kv]") {
  const TinyModel model;
  const std::vector<Chunk> chunks = {chunk_of(10, 120)};
  std::size_t last = SIZE_MAX;
  for (const std::string& name : memory_bank::kv_presets()) {
    CAPTURE(name);
    const std::size_t bytes =
        encode_record(model.make("kv", preset(name))->compress(chunks)[0]).size();
    CHECK(bytes < last);
    last = bytes;
  }
  const auto safe = model.make("kv", preset("safe"));
  CHECK(difference(model.ask(safe->to_prefix(compress(*safe, chunks), 10)),
                   model.ask_plainly(chunks[0].tokens)) < 0.05);
}

TEST_CASE("kv: records with narrow scales are smaller, of version 3, and give the same memory",
          "[memory_bank][kv]") {
  const TinyModel model;
  CodecOptions narrow = preset("default");
  narrow.scale_bits = 8;
  const std::vector<Chunk> chunks = {chunk_of(10, 120)};
  const Memory memory = model.make("kv", narrow)->compress(chunks)[0];
  const auto record = encode_record(memory);
  CHECK(record[4] == std::byte{3});
  const auto wide = encode_record(model.make("kv", preset("default"))->compress(chunks)[0]);
  CHECK(wide[4] == std::byte{2});
  CHECK(record.size() < wide.size());
  CHECK(same_memory(decode_record(record), memory));
}

TEST_CASE("kv: scores of attention mass alone are shared out evenly unless told otherwise",
          "[memory_bank][kv]") {
  const TinyModel model;
  const auto fingerprint_of = [&](const char* observer, const char* budget) {
    CodecOptions options = evicting(observer, 0.5);
    options.budget = budget;
    return model.make("kv", options)->fingerprint();
  };
  for (const char* observer : {"h2o", "zipcache", "tail", "expected_attention", "keydiff"}) {
    CHECK(fingerprint_of(observer, "preset") == fingerprint_of(observer, "uniform"));
  }
  CHECK(fingerprint_of("repeat", "preset") == fingerprint_of("repeat", "global"));
}

TEST_CASE("kv: codecs of several presets stand beside each other over one decoder",
          "[memory_bank][kv]") {
  const TinyModel model;
  const auto compact = model.make("kv", preset("compact"));
  const auto tiny = model.make("kv", preset("tiny"));
  const std::vector<Chunk> chunks = {chunk_of(10, 120)};
  const Memories small = compress(*tiny, chunks);
  CHECK(compress(*compact, chunks)[0]->keys.size(0) > small[0]->keys.size(0));
  CHECK_NOTHROW(tiny->to_prefix(small, 10));
  CHECK_THROWS_AS(compact->to_prefix(small, 10), InvalidArgument);
}

TEST_CASE("kv: a chunk that fills the decoder's positions keeps all its rows",
          "[memory_bank][kv]") {
  const TinyModel model;
  const auto codec = model.make("kv", evicting("repeat", 0.3));
  const auto length = TinyLlama::kContext - kPrefix.size();
  CHECK(codec->compress(std::vector{chunk_of(10, length)})[0].kept.everything());
}

TEST_CASE("kv: resident bytes are those of the tensors, the rows' places and the tokens",
          "[memory_bank][kv]") {
  const TinyModel model;
  const auto memory =
      model.make("kv", evicting("keydiff", 0.5))->compress(std::vector{chunk_of(10, 80)})[0];
  const auto read = through_record(memory);
  const std::size_t rows = static_cast<std::size_t>(read->keys.size(0));
  CHECK(read->resident_bytes() == 80 * 4 + 4 * 8 + rows * (2 * 8 * 4 + 8));
}

}  // namespace alluvium::tests
