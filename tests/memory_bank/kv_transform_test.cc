// Keys and values as steps along the directions of a basis.
#include <cmath>
#include <cstring>
#include <limits>

#include <ATen/ops/abs.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/memory_bank/kv_codec.h"
#include "alluvium/memory_bank/kv_family.h"
#include "alluvium/memory_bank/kv_record.h"
#include "alluvium/memory_bank/store.h"
#include "bank_fixtures.h"
#include "kv/settings.h"
#include "kv/transform.h"
#include "record_damage.h"
#include "record_directory.h"
#include "tiny_basis.h"

namespace alluvium::tests {
namespace {

using memory_bank::decode_record;
using memory_bank::encode_record;
using memory_bank::HeadBases;
using memory_bank::KvBasis;
using memory_bank::resolve_settings;
using memory_bank::Transform;

constexpr int64_t kWidth = TinyLlama::kHeadWidth;

CodecOptions with_steps(double key_step, double value_step, double keep = 1) {
  CodecOptions options;
  options.quantiser = "transform";
  options.key_step = key_step;
  options.value_step = value_step;
  options.keep = keep;
  options.observer = "keydiff";
  return options;
}

/// The tiny Llama with a basis.
struct Based {
  TinyModel model;
  std::shared_ptr<const KvBasis> basis = fit_basis(model);

  CodecContext context(const CodecOptions& options) const {
    CodecContext context = model.context(options);
    context.basis = basis.get();
    return context;
  }
  std::unique_ptr<Codec> make(const CodecOptions& options) const {
    return model.registry.make("kv", context(options));
  }
};

/// What a row becomes, in double precision and one coordinate after the other; `middle`: steps stand for their middles.
std::vector<double> slowly(const HeadBases& bases, int64_t layer, int64_t head, double step,
                           const at::Tensor& row, bool& exact) {
  const auto at3 = [&](const at::Tensor& tensor, int64_t i, int64_t j) {
    return tensor[layer][head][i][j].item<double>();
  };
  const auto at2 = [&](const at::Tensor& tensor, int64_t i) {
    return tensor[layer][head][i].item<double>();
  };
  int64_t written = kWidth;
  while (written > 0 && at2(bases.spread, written - 1) < 0.1 * step) {
    --written;
  }
  std::vector<double> out;
  for (int64_t i = 0; i < kWidth; ++i) {
    out.push_back(at2(bases.mean, i));
  }
  for (int64_t c = 0; c < written; ++c) {
    double coordinate = 0;
    for (int64_t i = 0; i < kWidth; ++i) {
      coordinate += at3(bases.analysis, c, i) * (row[i].item<double>() - at2(bases.mean, i));
    }
    // Two ways of adding may round a number near the middle between two steps to either.
    exact =
        exact && std::abs(std::abs(coordinate / step - std::floor(coordinate / step)) - 0.5) > 1e-3;
    for (int64_t i = 0; i < kWidth; ++i) {
      out[static_cast<std::size_t>(i)] +=
          at3(bases.synthesis, i, c) * step * std::nearbyint(coordinate / step);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("transform: rows are rounded along the basis, as the slow way has them",
          "[memory_bank][kv][transform][property]") {
  const Based based;
  const float step = GENERATE(0.05F, 0.4F, 2.0F, 50.0F);
  CAPTURE(step);
  const backbone::ReadResult reading = read_with_queries(based.model, chunk_of(5, 30).tokens);
  const at::Tensor keys = reading.keys[1].contiguous();
  const at::Tensor values = reading.values[1].contiguous();
  const std::vector<int64_t> counts = {3, 2};
  const std::vector<int64_t> positions = {0, 7, 29, 1, 2};
  const Transform transform(*based.basis, {step, step});
  const auto bytes = transform.encode(1, keys, values, counts, positions);
  const auto rows = transform.decode(1, bytes, counts);
  REQUIRE(rows.values.sizes() == at::IntArrayRef({5, kWidth}));
  int compared = 0;
  for (int64_t r = 0; r < 5; ++r) {
    const int64_t head = r < 3 ? 0 : 1;
    const double size = based.basis->values.spread[1][head].square().mean().sqrt().item<double>();
    bool exact = true;
    const auto expected = slowly(based.basis->values, 1, head, step * size,
                                 values[head][positions[static_cast<std::size_t>(r)]], exact);
    compared += exact ? 1 : 0;
    for (int64_t i = 0; exact && i < kWidth; ++i) {
      CHECK_THAT(rows.values[r][i].item<double>(),
                 Catch::WithinAbs(expected[static_cast<std::size_t>(i)], 1e-4));
    }
    // Keys go to the mean of their step, so no coordinate is further off than a step.
    const at::Tensor off =
        at::matmul(based.basis->keys.analysis[1][head],
                   (rows.keys[r] - keys[head][positions[static_cast<std::size_t>(r)]]));
    const at::Tensor spread = based.basis->keys.spread[1][head];
    CHECK(at::abs(off)
              .lt(at::max(spread * 6, at::full_like(spread, step)) + 1e-4)
              .all()
              .item<bool>());
    // A value lies on its steps, a key beside them.
    const auto off_steps = [&](const HeadBases& bases, const at::Tensor& row, double size_of_step) {
      const at::Tensor steps =
          at::matmul(bases.analysis[1][head], row - bases.mean[1][head]) / size_of_step;
      return at::abs(steps - steps.round()).max().item<double>();
    };
    CHECK(off_steps(based.basis->values, rows.values[r], step * size) < 5e-3);
    if (step < 1) {
      CHECK(off_steps(based.basis->keys, rows.keys[r], step) > 5e-3);
      CHECK(at::abs(off).max().item<float>() < step + 1e-3F);
    }
  }
  CHECK(compared >= 3);
  // Other bytes are no such rows.
  auto damaged = bytes;
  damaged.push_back(std::byte{0});
  CHECK_THROWS_AS(transform.decode(1, damaged, counts), DataCorruption);
  if (step < 1) {  // where no coordinate is written, any number of rows is the same bytes
    CHECK_THROWS_AS(transform.decode(1, bytes, std::vector<int64_t>{3, 3}), DataCorruption);
  }
}

TEST_CASE("transform: finer steps take more bytes and come nearer to the lossless memory",
          "[memory_bank][kv][transform]") {
  const c10::InferenceMode no_gradient;
  const Based based;
  const std::vector<Chunk> chunk = {chunk_of(9, 80)};
  const auto lossless = based.model.make("kv");
  const at::Tensor expected = based.model.ask(lossless->to_prefix(compress(*lossless, chunk), 5));
  double last = std::numeric_limits<double>::infinity();
  std::size_t fewer = 0;
  for (const double step : {1.0, 0.3, 0.1, 0.03, 0.01}) {
    CAPTURE(step);
    const auto codec = based.make(with_steps(step, step));
    const Memories memories = compress(*codec, chunk);
    const double off = difference(based.model.ask(codec->to_prefix(memories, 5)), expected);
    const std::size_t bytes = encode_record(*memories[0]).size();
    CHECK(off < last);
    CHECK(bytes > fewer);
    last = off;
    fewer = bytes;
  }
  CHECK(last < 0.05);
}

TEST_CASE("transform: a memory passes through its record, whatever else was done to it",
          "[memory_bank][kv][transform][record][property]") {
  const Based based;
  const double keep = GENERATE(1.0, 0.4);
  const std::string merge = GENERATE("none", "values", "compensation");
  CAPTURE(keep, merge);
  CodecOptions options = with_steps(0.2, 0.4, keep);
  options.merge = merge;
  const auto codec = based.make(options);
  const Memories memories = compress(*codec, {chunk_of(10, 90), chunk_of(3, 20), chunk_of(4, 1)});
  for (const auto& memory : memories) {
    const auto record = encode_record(*memory);
    CHECK(same_memory(decode_record(record, based.basis.get()), *memory));
    uint16_t version;
    std::memcpy(&version, record.data() + 4, sizeof(version));
    CHECK(version == 6);
    // Equal chunks give equal bytes: a record may be shared.
    CHECK((encode_record(*compress(
               *codec, {Chunk{.begin = 0, .end = 0, .tokens = memory->tokens}})[0]) == record));
  }
}

TEST_CASE("transform: damaged and forged records are found",
          "[memory_bank][kv][transform][record][property]") {
  const Based based;
  const auto codec = based.make(with_steps(0.3, 0.5, 0.5));
  const auto record = encode_record(*compress(*codec, {chunk_of(10, 70)})[0]);
  require_damage_is_found(record);
  const auto refuses = [&](const std::vector<std::byte>& forged) {
    CHECK_THROWS_AS(decode_record(forged, based.basis.get()), DataCorruption);
  };
  constexpr std::size_t kFlagsAt = 6;
  constexpr std::size_t kKeyStepAt = 108;
  constexpr std::size_t kValueStepAt = 112;
  constexpr std::size_t kMarkAt = 116;
  for (const float step : {0.0F, -1.0F, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    refuses(forge(record, kKeyStepAt, step));
    refuses(forge(record, kValueStepAt, step));
  }
  for (const int flag : {2, 4, 16, 32, 64, 128}) {  // what goes with ranges alone
    uint16_t flags;
    std::memcpy(&flags, record.data() + kFlagsAt, sizeof(flags));
    refuses(forge(record, kFlagsAt, static_cast<uint16_t>(flags | flag)));
  }
  refuses(forge(record, 80, uint32_t{3}));                        // KV heads
  refuses(forge(record, 84, uint32_t{16}));                       // channels
  refuses(forge(record, directory_at(record) + 16, uint8_t{4}));  // bits of a layer's keys
  CHECK_THROWS_AS(decode_record(forge(record, 4, uint16_t{5}), based.basis.get()), NotSupported);
  // Another basis, or none.
  CHECK_THROWS_WITH(
      decode_record(forge(record, kMarkAt, based.basis->mark() + 1), based.basis.get()),
      Catch::Contains("codec.basis"));
  CHECK_THROWS_AS(decode_record(record), NotSupported);
  // A forger of the numbers themselves gets rows or a refusal, never another end.
  Random random(7);
  for (int round = 0; round < 2000; ++round) {
    const std::size_t at = 128 + random.below(record.size() - 130);
    try {
      const Memory memory =
          decode_record(forge(record, at, static_cast<uint16_t>(random.next())), based.basis.get());
      CHECK(memory.keys.size(-1) == kWidth);
    } catch (const DataCorruption&) {
    }
  }
}

TEST_CASE("transform: a preset takes it where there is a basis and nothing asks for ranges",
          "[memory_bank][kv][transform]") {
  CodecOptions options;
  for (const char* preset : {"safe", "default", "compact", "tiny"}) {
    CAPTURE(preset);
    options = {};
    options.preset = preset;
    CHECK(resolve_settings(options, true).transformed());
    CHECK_FALSE(resolve_settings(options, true).quantised());
    CHECK_FALSE(resolve_settings(options, false).transformed());
    CHECK(resolve_settings(options, false).quantised());
    CHECK(settings_word(options, true) == preset);
    options.key_bits = 8;
    options.value_bits = 4;
    CHECK_FALSE(resolve_settings(options, true).transformed());
    options = {};
    options.preset = preset;
    options.quantiser = "minmax";
    CHECK_FALSE(resolve_settings(options, true).transformed());
    CHECK(settings_word(options, true) == "custom");
    CHECK(settings_word(options, false) == preset);
  }
  options = {};
  CHECK_FALSE(resolve_settings(options, true).transformed());  // lossless stays what it says
}

TEST_CASE("transform: wrong settings are told by their key", "[memory_bank][kv][transform]") {
  const auto refuse = [](const CodecOptions& options, const char* what) {
    CHECK_THROWS_WITH(resolve_settings(options, true), Catch::Contains(what));
    CHECK_THROWS_AS(resolve_settings(options, true), InvalidArgument);
  };
  refuse(with_steps(0.001, 0.1), "codec.key_step must lie in [0.01, 10]");
  refuse(with_steps(0.1, 11), "codec.value_step must lie in [0.01, 10]");
  refuse(with_steps(0.1, 0), "codec.value_step must be set");
  CodecOptions options = with_steps(0.1, 0.1);
  options.key_bits = options.value_bits = 4;
  refuse(options, "codec.quantiser = transform takes no bits");
  options = with_steps(0.1, 0.1);
  options.entropy = "rans";
  refuse(options, "codec.entropy");
  options = with_steps(0.1, 0.1);
  options.quantiser = "minmax";
  refuse(options, "codec.key_step and codec.value_step are of codec.quantiser = transform");
  const TinyModel model;
  CHECK_THROWS_WITH(model.make("kv", with_steps(0.1, 0.1)), Catch::Contains("codec.basis"));
}

TEST_CASE("transform: memories depend on steps and basis, and a family attends to all of them",
          "[memory_bank][kv][transform]") {
  const c10::InferenceMode no_gradient;
  const Based based;
  const Digest fingerprint = based.make(with_steps(0.1, 0.3))->fingerprint();
  CHECK(based.make(with_steps(0.1, 0.3))->fingerprint() == fingerprint);
  CHECK(based.make(with_steps(0.1, 0.4))->fingerprint() != fingerprint);
  CHECK(based.make(with_steps(0.2, 0.3))->fingerprint() != fingerprint);
  memory_bank::KvBasisFit fit(*based.model.decoder);
  fit.add(read_with_queries(based.model, chunk_of(1, 40).tokens));
  const KvBasis other = fit.finish();
  CodecContext context = based.context(with_steps(0.1, 0.3));
  context.basis = &other;
  CHECK(based.model.registry.make("kv", context)->fingerprint() != fingerprint);

  CodecOptions options;
  options.preset = "default";
  memory_bank::KvFamily family(based.context(options));
  const std::vector<Chunk> chunk = {chunk_of(9, 80)};
  Memories memories = compress(family, chunk);
  CHECK(memories[0]->stored->transformed());
  CHECK(memories[0]->origin.preset == "default");
  CHECK(memories[0]->origin.quality_gap.has_value());
  family.switch_to("lossless");
  const Memories exact = compress(family, chunk);
  CHECK(exact[0]->stored == nullptr);
  memories.push_back(exact[0]);
  CHECK(based.model.ask(family.to_prefix(memories, 5)).isfinite().all().item<bool>());
}

TEST_CASE("transform: a store reads them with their basis", "[memory_bank][kv][transform][store]") {
  const Based based;
  const auto codec = based.make(with_steps(0.1, 0.3, 0.6));
  const TemporaryDirectory directory;
  memory_bank::Deposit deposit = make_deposit(make_document("a", 1, std::string(70, 'x')));
  deposit.memories.clear();
  for (Chunk& chunk : deposit.chunks) {
    chunk.tokens = chunk_of(7, chunk.tokens.size()).tokens;  // of the tiny Llama's vocabulary
    deposit.memories.push_back(codec->compress({&chunk, 1}).front());
  }
  const Memory expected = deposit.memories.front();
  int64_t row = 0;
  {
    const auto store = memory_bank::Store::open(directory.path(), {.basis = based.basis});
    store->commit({&deposit, 1});
    row = store->chunks(store->find("default", "a")->row).at(0).row;
  }
  {
    memory_bank::StoreOptions reading;
    reading.read_only = true;
    const auto without = memory_bank::Store::open(directory.path(), reading);
    REQUIRE(without->verify().size() == 1);
    CHECK_THAT(without->verify().front(), Catch::Contains("codec.basis"));
  }
  const auto store = memory_bank::Store::open(directory.path(), {.basis = based.basis});
  CHECK(store->verify().empty());
  const auto memory = store->load_memory(row, codec->fingerprint());
  REQUIRE(memory != nullptr);
  CHECK(same_memory(*memory, expected));
}

}  // namespace alluvium::tests
