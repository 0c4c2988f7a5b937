#include "alluvium/memory_bank/blend.h"

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_family.h"
#include "support/catch.h"
#include "tiny_model.h"

namespace alluvium::tests {
namespace {

using memory_bank::PositionScheme;

constexpr int64_t kLayers = 5;
constexpr int64_t kRoom = 8;

const std::vector<Chunk> kChunks = {chunk_of(10, 20), chunk_of(50, 7), chunk_of(90, 33)};

/// The chunks as one text, the best (the first) last.
Tokens joined() {
  Tokens text;
  for (auto chunk = kChunks.rbegin(); chunk != kChunks.rend(); ++chunk) {
    text.insert(text.end(), chunk->tokens.begin(), chunk->tokens.end());
  }
  return text;
}

at::Tensor ask_blended(const TinyModel& model, const Codec& codec, const Memories& memories,
                       double share) {
  return model.ask(memory_bank::start_blended(*model.decoder, codec, memories, kRoom, share));
}

}  // namespace

TEST_CASE("codecs: a question may ask for its documents in sequence or side by side",
          "[memory_bank][codec]") {
  const TinyModel model;
  const std::string name = GENERATE("text", "kv");
  CodecOptions options;
  const auto parallel = model.make(name, options);
  options.positions = "sequential";
  const auto sequential = model.make(name, options);
  const Memories memories = compress(*parallel, kChunks);
  const auto ask = [&](const Codec& codec, std::optional<PositionScheme> scheme) {
    return model.ask(codec.to_prefix(memories, kRoom, scheme));
  };
  CHECK(difference(ask(*parallel, PositionScheme::sequential), ask(*sequential, {})) == 0);
  CHECK(difference(ask(*sequential, PositionScheme::parallel), ask(*parallel, {})) == 0);
  CHECK(difference(ask(*parallel, {}), ask(*sequential, {})) > 1e-4);
}

TEST_CASE("blend: all rows recomputed are the documents read as one text, whatever their bits",
          "[memory_bank][blend]") {
  const TinyModel model(kLayers);
  CodecOptions options;
  options.preset = GENERATE("lossless", "safe");
  options.positions = GENERATE("parallel", "sequential");
  CAPTURE(options.preset, options.positions);
  const auto codec = model.make("kv", options);
  const Memories memories = compress(*codec, kChunks);
  const at::Tensor plain = model.ask_plainly(joined());
  CHECK(difference(ask_blended(model, *codec, memories, 1), plain) <= 1e-3);
  const at::Tensor unrepaired =
      model.ask(codec->to_prefix(memories, kRoom, PositionScheme::sequential));
  CHECK(difference(ask_blended(model, *codec, memories, 0), unrepaired) == 0);
  CHECK(difference(unrepaired, plain) > 1e-3);
}

TEST_CASE("blend: some rows recomputed come nearer to the text", "[memory_bank][blend]") {
  const TinyModel model(kLayers);
  const auto codec = model.make("kv");
  const Memories memories = compress(*codec, kChunks);
  const at::Tensor plain = model.ask_plainly(joined());
  const auto error = [&](double share) {
    return (ask_blended(model, *codec, memories, share) - plain).square().mean().item<double>();
  };
  CHECK(error(0.16) < 0.8 * error(0));
  CHECK(error(0.6) < 0.8 * error(0.16));
}

TEST_CASE("blend: text is read in sequence whole, and a memory alone as it is",
          "[memory_bank][blend]") {
  const TinyModel model(kLayers);
  const double share = GENERATE(0.0, 0.16, 1.0);
  const auto text = model.make("text");
  CHECK(difference(ask_blended(model, *text, compress(*text, kChunks), share),
                   model.ask_plainly(joined())) < 1e-4);
  const auto kv = model.make("kv");
  const Memories one = compress(*kv, {kChunks[0]});
  CHECK(difference(ask_blended(model, *kv, one, share), model.ask(kv->to_prefix(one, kRoom))) == 0);
  CHECK(difference(ask_blended(model, *kv, {}, share), model.ask(kv->to_prefix({}, kRoom))) == 0);
}

TEST_CASE("blend: memories of any preset that keeps every row go together",
          "[memory_bank][blend]") {
  const TinyModel model(kLayers);
  memory_bank::KvFamily family(model.context());
  Memories memories;
  for (const char* preset : {"lossless", "safe", "tiny"}) {
    family.switch_to(preset);
    // Chunks under 64 tokens lose no row, whatever the preset.
    memories.push_back(compress(family, {kChunks[memories.size()]}).front());
  }
  CHECK(difference(ask_blended(model, family, memories, 1), model.ask_plainly(joined())) <= 1e-3);
}

TEST_CASE("blend: what cannot be blended is refused", "[memory_bank][blend]") {
  const TinyModel model(kLayers);
  CodecOptions options;
  options.preset = "tiny";
  const auto tiny = model.make("kv", options);
  const Memories evicted = compress(*tiny, {chunk_of(10, 80), chunk_of(50, 7)});
  REQUIRE_FALSE(evicted[0]->kept.everything());
  CHECK_THROWS_AS(ask_blended(model, *tiny, evicted, 0.16), InvalidArgument);
  CHECK_NOTHROW(ask_blended(model, *tiny, {evicted[0]}, 0.16));

  const auto kv = model.make("kv");
  const Memories memories = compress(*kv, {chunk_of(10, 120), chunk_of(50, 120)});
  const int64_t left = TinyLlama::kContext - 240 - static_cast<int64_t>(kPrefix.size());
  CHECK_NOTHROW(memory_bank::start_blended(*model.decoder, *kv, memories, left, 0.16));
  CHECK_THROWS_AS(memory_bank::start_blended(*model.decoder, *kv, memories, left + 1, 0.16),
                  InvalidArgument);
  CHECK_THROWS_AS(memory_bank::start_blended(*model.decoder, *kv, memories, left, 1.5),
                  InvalidArgument);
}

}  // namespace alluvium::tests
