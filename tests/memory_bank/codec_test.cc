#include "alluvium/memory_bank/codec.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_record.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/checkpoint_writers.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"
#include "tiny_model.h"

namespace alluvium::tests {
namespace {

/// A GGUF file that differs in its rotary base alone.
std::string with_rope_base(std::string file, float base) {
  const std::string key = "llama.rope.freq_base";
  const std::size_t at = file.find(key) + key.size() + sizeof(uint32_t);  // after the value's type
  REQUIRE(bytes_of<float>({10000}) == file.substr(at, sizeof(base)));
  return file.replace(at, sizeof(base), bytes_of<float>({base}));
}

}  // namespace

TEST_CASE("codecs: one document answers as if it had been read", "[memory_bank][codec]") {
  const TinyModel model;
  const std::string name = GENERATE("text", "kv");
  const std::size_t length = GENERATE(1U, 17U, 90U);
  CAPTURE(name, length);
  const auto codec = model.make(name);
  const std::vector<Chunk> chunks = {chunk_of(10, length)};
  const auto prefix = codec->to_prefix(compress(*codec, chunks), 10);
  CHECK(prefix.next_position == static_cast<int64_t>(kPrefix.size() + length));
  CHECK(prefix.slots() == static_cast<int64_t>(kPrefix.size() + length));
  CHECK(difference(model.ask(prefix), model.ask_plainly(chunks[0].tokens)) < 1e-4);
}

TEST_CASE("codecs: stored and re-read documents give the same answer, record and all",
          "[memory_bank][codec]") {
  const TinyModel model;
  CodecOptions options;
  options.positions = GENERATE("parallel", "sequential");
  CAPTURE(options.positions);
  const auto kv = model.make("kv", options);
  const auto text = model.make("text", options);
  const std::vector<Chunk> chunks = {chunk_of(10, 20), chunk_of(50, 7), chunk_of(90, 33)};
  Memories stored;
  for (const auto& memory : compress(*kv, chunks)) {
    stored.push_back(std::make_shared<const Memory>(
        memory_bank::decode_record(memory_bank::encode_record(*memory))));
  }
  const auto from_store = kv->to_prefix(stored, 10);
  const auto from_text = text->to_prefix(compress(*text, chunks), 10);
  CHECK(from_store.next_position == from_text.next_position);
  CHECK(from_store.slots() == from_text.slots());
  if (options.positions == "parallel") {
    CHECK(from_store.next_position == static_cast<int64_t>(kPrefix.size()) + 33);
    CHECK(difference(model.ask(from_store), model.ask(from_text)) < 1e-4);
  } else {
    // A re-read sequence lets later documents attend to earlier ones; stored ones were read alone.
    CHECK(from_store.next_position == static_cast<int64_t>(kPrefix.size()) + 60);
    CHECK(difference(model.ask(from_store), model.ask(from_text)) > 1e-4);
  }
}

TEST_CASE("codecs: documents re-read in sequence are one plain text, the best last",
          "[memory_bank][codec]") {
  const TinyModel model;
  CodecOptions options;
  options.positions = "sequential";
  const auto text = model.make("text", options);
  const Chunk best = chunk_of(10, 12);
  const Chunk second = chunk_of(70, 9);
  Tokens joined = second.tokens;
  joined.insert(joined.end(), best.tokens.begin(), best.tokens.end());
  const auto prefix = text->to_prefix(compress(*text, {best, second}), 10);
  CHECK(difference(model.ask(prefix), model.ask_plainly(joined)) < 1e-4);
}

TEST_CASE("codecs: the order of documents side by side does not matter", "[memory_bank][codec]") {
  const TinyModel model;
  CodecOptions options;
  options.temperature = GENERATE(1.0, 0.9);
  options.lse_scale = options.temperature;
  const auto codec = model.make("kv", options);
  Memories memories = compress(*codec, {chunk_of(10, 20), chunk_of(50, 7), chunk_of(90, 33)});
  const at::Tensor forwards = model.ask(codec->to_prefix(memories, 10));
  std::reverse(memories.begin(), memories.end());
  CHECK(difference(model.ask(codec->to_prefix(memories, 10)), forwards) < 1e-4);
}

TEST_CASE("codecs: temperature and scale apply from the second document on",
          "[memory_bank][codec]") {
  const TinyModel model;
  CodecOptions options;
  options.temperature = 0.8;
  options.lse_scale = 0.7;
  const auto codec = model.make("kv", options);
  const Memories memories = compress(*codec, {chunk_of(10, 20), chunk_of(50, 7)});
  const auto one = codec->to_prefix(std::span(memories).first(1), 10);
  CHECK(one.temperature == 1.0);
  CHECK(one.lse_scale == 1.0);
  const auto two = codec->to_prefix(memories, 10);
  CHECK(two.temperature == 0.8);
  CHECK(two.lse_scale == 0.7);
  options.positions = "sequential";
  const auto sequence = model.make("kv", options)->to_prefix(memories, 10);
  CHECK(sequence.temperature == 1.0);
  CHECK(sequence.lse_scale == 1.0);
}

TEST_CASE("codecs: a memory stands at any position", "[memory_bank][codec]") {
  // Shifting document and question together changes no answer: rotary attention sees distances alone.
  const TinyModel model;
  const auto codec = model.make("kv");
  const Memories memories = compress(*codec, {chunk_of(10, 20)});
  const auto shifted = [&](int64_t by) {
    backbone::KvPrefix prefix = codec->to_prefix(memories, 10);
    prefix.segments.erase(prefix.segments.begin());  // the shared prefix keeps its place
    prefix.segments[0].positions = prefix.segments[0].positions + by;
    prefix.next_position += by;
    return model.ask(prefix);
  };
  CHECK(difference(shifted(200), shifted(0)) < 1e-4);
}

TEST_CASE("codecs: without documents the shared prefix stands alone", "[memory_bank][codec]") {
  const TinyModel model;
  const std::string name = GENERATE("none", "text", "kv");
  CAPTURE(name);
  const auto codec = model.make(name);
  CHECK(codec->compress({}).empty());
  const auto prefix = codec->to_prefix({}, 10);
  CHECK(prefix.slots() == static_cast<int64_t>(kPrefix.size()));
  CHECK(difference(model.ask(prefix), model.ask_plainly({})) < 1e-4);
}

TEST_CASE("codecs: none attends to no document", "[memory_bank][codec]") {
  const TinyModel model;
  const auto codec = model.make("none");
  const Memories memories = compress(*codec, {chunk_of(10, 20)});
  CHECK_FALSE(memories[0]->keys.defined());
  CHECK(codec->to_prefix(memories, 10).slots() == static_cast<int64_t>(kPrefix.size()));
}

TEST_CASE("codecs: what does not fit the model's positions is refused before reading",
          "[memory_bank][codec]") {
  const TinyModel model;
  const std::string name = GENERATE("text", "kv");
  CodecOptions options;
  options.positions = "sequential";
  const auto codec = model.make(name, options);
  const Memories memories = compress(*codec, {chunk_of(10, 100), chunk_of(50, 100)});
  const int64_t left = TinyLlama::kContext - 200 - static_cast<int64_t>(kPrefix.size());
  CHECK_NOTHROW(codec->to_prefix(memories, left));
  CHECK_THROWS_AS(codec->to_prefix(memories, left + 1), InvalidArgument);
  // Side by side, the same documents leave room for the longest alone.
  CHECK_NOTHROW(model.make(name)->to_prefix(memories, left + 100));
  CHECK_THROWS_AS(model.make(name)->to_prefix(memories, left + 101), InvalidArgument);
}

TEST_CASE("codecs: chunks that are empty or too long are refused", "[memory_bank][codec]") {
  const TinyModel model;
  for (const char* name : {"none", "text", "kv"}) {
    const std::vector<Chunk> empty(1);
    CHECK_THROWS_AS(model.make(name)->compress(empty), InvalidArgument);
  }
  const std::vector<Chunk> too_long = {chunk_of(1, TinyLlama::kContext)};
  CHECK_THROWS_AS(model.make("kv")->compress(too_long), InvalidArgument);
}

TEST_CASE("codecs: every part of the fingerprint changes it, load-time settings do not",
          "[memory_bank][codec]") {
  const TinyModel model;
  const auto kv = model.make("kv");
  CHECK(model.make("kv")->fingerprint() == kv->fingerprint());
  CHECK(model.make("text")->fingerprint() != kv->fingerprint());
  CodecOptions options;
  options.positions = "sequential";
  options.temperature = 0.9;
  options.lse_scale = 0.9;
  CHECK(model.make("kv", options)->fingerprint() == kv->fingerprint());
  const auto changed = [&](const std::function<void(CodecOptions&)>& change) {
    CodecOptions other = options;
    change(other);
    return model.make("kv", other)->fingerprint() != kv->fingerprint();
  };
  CHECK(changed([](CodecOptions& o) { o.preset = "safe"; }));
  CHECK(changed([](CodecOptions& o) { o.key_bits = o.value_bits = 16; }));
  CHECK(changed([](CodecOptions& o) { o.keep = 0.5; }));
  // Among evicting codecs every setting counts, and a preset is no more than its settings.
  options.preset = "default";
  const auto standard = model.make("kv", options)->fingerprint();
  const auto differs = [&](const std::function<void(CodecOptions&)>& change) {
    CodecOptions other = options;
    change(other);
    return model.make("kv", other)->fingerprint() != standard;
  };
  CHECK(differs([](CodecOptions& o) { o.preset = "compact"; }));
  CHECK(differs([](CodecOptions& o) { o.keep = 0.123; }));
  CHECK(differs([](CodecOptions& o) { o.observer = "tail"; }));
  CHECK(differs([](CodecOptions& o) { o.budget = "uniform"; }));
  CHECK(differs([](CodecOptions& o) { o.key_bits = 2; }));
  CHECK(differs([](CodecOptions& o) { o.value_bits = 3; }));
  CHECK(differs([](CodecOptions& o) { o.key_channels = 0.5; }));
  CHECK(differs([](CodecOptions& o) { o.boundary_bits = 4; }));
  CHECK(differs([](CodecOptions& o) { o.key_group = 16; }));
  CHECK(differs([](CodecOptions& o) { o.scale_bits = 8; }));
  CHECK(differs([](CodecOptions& o) { o.merge = "values"; }));
  CHECK(differs([](CodecOptions& o) { o.residual_rank = 4; }));
  CHECK(differs([](CodecOptions& o) { o.entropy = "zstd"; }));
  CHECK(differs([](CodecOptions& o) { o.entropy = "rans"; }));
  CHECK(differs([](CodecOptions& o) { o.tail_bits = 2; }));
  CHECK(differs([](CodecOptions& o) { o.quantiser = "cachegen"; }));
  for (const char* merge : {"neighbours", "d2o", "ems", "compensation"}) {
    CHECK(differs([&](CodecOptions& o) { o.merge = merge; }));
  }
  CHECK_FALSE(differs([](CodecOptions& o) {
    o.observer = "repeat";
    o.budget = "global";
    o.positions = "parallel";
  }));

  const auto with_prefix = memory_bank::read_shared_prefix(*model.decoder, {0, 40, 41, 43});
  const CodecContext other_prefix{model.decoder.get(), model.tokenizer.get(), &with_prefix, {}};
  CHECK(model.registry.make("kv", other_prefix)->fingerprint() != kv->fingerprint());

  const PairTokenizer pairs;
  const CodecContext other_tokenizer{model.decoder.get(), &pairs, &model.prefix, {}};
  CHECK(model.registry.make("kv", other_tokenizer)->fingerprint() != kv->fingerprint());

  const auto of_decoder = [&](const std::string& path, at::ScalarType dtype) {
    const auto checkpoint = backbone::open_checkpoint(path);
    backbone::DevicePolicy policy = backbone::reference_policy();
    policy.dtype = dtype;
    const auto decoder = backbone::load_decoder(*checkpoint, policy);
    return model.registry
        .make("kv", CodecContext{decoder.get(), model.tokenizer.get(), &model.prefix, {}})
        ->fingerprint();
  };
  CHECK(of_decoder(model.path, at::kFloat) == kv->fingerprint());
  CHECK(of_decoder(model.path, at::kBFloat16) != kv->fingerprint());
  const TemporaryDirectory directory;
  const std::string other_weights = write_tiny_llama_gguf(directory.path(), 6);
  CHECK(of_decoder(other_weights, at::kFloat) != kv->fingerprint());
  const std::string other_base = directory.path() + "/other_base.gguf";
  write_file(other_base, with_rope_base(read_file(model.path), 20000));
  CHECK(of_decoder(other_base, at::kFloat) != kv->fingerprint());
}

TEST_CASE("codecs: a memory of another fingerprint is not attended to", "[memory_bank][codec]") {
  const TinyModel model;
  CodecOptions half;
  half.key_bits = half.value_bits = 16;
  const Memories memories = compress(*model.make("kv", half), {chunk_of(10, 20)});
  CHECK_THROWS_AS(model.make("kv")->to_prefix(memories, 10), InvalidArgument);
  const Memories tokens_only = compress(*model.make("text"), {chunk_of(10, 20)});
  CHECK_THROWS_AS(model.make("kv")->to_prefix(tokens_only, 10), InvalidArgument);
}

TEST_CASE("codecs: storage in 16 bits rounds, in 32 it does not", "[memory_bank][codec]") {
  const TinyModel model;
  const std::vector<Chunk> chunks = {chunk_of(10, 20)};
  const auto exact = model.make("kv")->compress(chunks);
  CHECK(exact[0].keys.scalar_type() == at::kFloat);
  CodecOptions options;
  options.key_bits = options.value_bits = 32;
  CHECK(same_bits(model.make("kv", options)->compress(chunks)[0].keys, exact[0].keys));
  options.key_bits = options.value_bits = 16;
  const auto codec = model.make("kv", options);
  const auto half = codec->compress(chunks);
  CHECK(half[0].keys.scalar_type() == at::kHalf);
  CHECK(difference(half[0].keys.to(at::kFloat), exact[0].keys) < 1e-2);
  CHECK(difference(model.ask(codec->to_prefix(compress(*codec, chunks), 10)),
                   model.ask_plainly(chunks[0].tokens)) < 1e-2);
}

TEST_CASE("codecs: a batch gives each chunk what it gets alone", "[memory_bank][codec]") {
  const TinyModel model;
  const auto codec = model.make("kv");
  const std::vector<Chunk> chunks = {chunk_of(10, 20), chunk_of(50, 1), chunk_of(90, 33)};
  const auto together = codec->compress(chunks);
  REQUIRE(together.size() == 3);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const auto alone = codec->compress(std::span(chunks).subspan(i, 1));
    CHECK(together[i].tokens == chunks[i].tokens);
    CHECK(together[i].document_sha == memory_bank::hash_tokens(chunks[i].tokens));
    CHECK(difference(together[i].keys, alone[0].keys) < 1e-5);
    CHECK(difference(together[i].values, alone[0].values) < 1e-5);
  }
}

TEST_CASE("codecs: options outside their bounds are refused", "[memory_bank][codec]") {
  const TinyModel model;
  CodecOptions options;
  SECTION("bits") { options.key_bits = options.value_bits = 5; }
  SECTION("bits of two kinds") { options.key_bits = 8; }
  SECTION("preset") { options.preset = "huge"; }
  SECTION("share") { options.keep = 1.5; }
  SECTION("observer") { options.observer = "oracle"; }
  SECTION("residual") { options.residual_rank = -1; }
  SECTION("entropy") { options.entropy = "gzip"; }
  SECTION("budget") { options.budget = "generous"; }
  SECTION("positions") { options.positions = "diagonal"; }
  SECTION("temperature") { options.temperature = 0; }
  SECTION("scale") { options.lse_scale = std::nan(""); }
  CHECK_THROWS_AS(model.make("kv", options), InvalidArgument);
  CHECK_THROWS_AS(memory_bank::read_shared_prefix(*model.decoder, {}), InvalidArgument);
  CHECK_THROWS_AS(model.registry.make("kv", CodecContext{}), InvalidArgument);
}

}  // namespace alluvium::tests
