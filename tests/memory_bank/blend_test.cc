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
  return model.ask(memory_bank::start_blended(*model.decoder, codec, memories, kRoom, share).cache);
}

/// Questions over the same documents in orders of their own, whose variants are kept from one to the
/// next.
struct Reusing {
  const TinyModel model{kLayers};
  std::unique_ptr<Codec> codec = model.make("kv");
  Memories memories = compress(*codec, kChunks);
  memory_bank::MemoryCache variants{std::size_t{1} << 30};

  struct Outcome {
    at::Tensor logits;
    int64_t recomputed = 0;
  };

  /// Places in kChunks, best first.
  Memories of(const std::vector<int64_t>& order) const {
    Memories chosen;
    for (const int64_t i : order) {
      chosen.push_back(memories[static_cast<std::size_t>(i)]);
    }
    return chosen;
  }

  Outcome ask(const std::vector<int64_t>& order, double alpha = 1) {
    const Memories chosen = of(order);
    auto reused =
        memory_bank::start_reused(*model.decoder, *codec, chosen, order, kRoom, alpha, variants);
    return {model.ask(std::move(reused.cache)), reused.recomputed};
  }

  at::Tensor ask_text(const std::vector<int64_t>& order) const {
    Tokens text;
    for (auto i = order.rbegin(); i != order.rend(); ++i) {
      const Tokens& tokens = kChunks[static_cast<std::size_t>(*i)].tokens;
      text.insert(text.end(), tokens.begin(), tokens.end());
    }
    return model.ask_plainly(text);
  }

  /// Of the document that stood last in {0, 1, 2}.
  std::shared_ptr<const memory_bank::ChunkVariant> variant_of_last() {
    auto variant = variants.best_variant(0, memories[0]->fingerprint, std::vector<int64_t>{2, 1});
    REQUIRE(variant != nullptr);
    return variant;
  }

  double error(const at::Tensor& logits, const std::vector<int64_t>& order) const {
    return (logits - ask_text(order)).square().mean().item<double>();
  }
};

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

// kChunks have 20, 7 and 33 tokens.
TEST_CASE("reuse: documents in a sequence for the first time are their text, and so they stay",
          "[memory_bank][reuse]") {
  Reusing r;
  const std::vector<int64_t> order = {0, 1, 2};
  const auto first = r.ask(order);
  CHECK(first.recomputed == 20 + 7);
  CHECK(difference(first.logits, r.ask_text(order)) <= 1e-3);
  CHECK(r.variants.counters().variants == 2);
  const auto second = r.ask(order);
  CHECK(second.recomputed == 0);
  CHECK(difference(second.logits, r.ask_text(order)) <= 1e-3);
}

TEST_CASE("reuse: a sequence that begins with a known one costs only what follows",
          "[memory_bank][reuse]") {
  Reusing r;
  r.ask({1, 2});
  const auto longer = r.ask({0, 1, 2});
  CHECK(longer.recomputed == 20);
  CHECK(difference(longer.logits, r.ask_text({0, 1, 2})) <= 1e-3);
}

TEST_CASE(
    "reuse: of a document behind some of those it was made behind as much is recomputed as "
    "its attention says",
    "[memory_bank][reuse]") {
  Reusing r;
  r.ask({0, 1, 2});
  const auto variant = r.variant_of_last();
  REQUIRE(variant->context.before.size() == 2);
  CHECK(variant->context.before[0].chunk == 2);
  CHECK(variant->context.before[0].tokens == 33);
  CHECK(variant->context.before[1].chunk == 1);
  const std::vector<int64_t> now = {2};
  const double overhead = memory_bank::fix_overhead(variant->context, now, 0.5);
  REQUIRE(overhead > 0);
  REQUIRE(overhead < 0.5);
  const auto some = r.ask({0, 2}, 0.5);
  CHECK(some.recomputed == memory_bank::tokens_to_fix(overhead, 20));
  CHECK(r.variants.counters().variants == 2);

  // Nearer to the text than what was kept, and than the memory alone.
  Reusing none;
  none.ask({0, 1, 2});
  const auto kept = none.ask({0, 2}, 0);
  CHECK(kept.recomputed == 0);
  CHECK(r.error(some.logits, {0, 2}) < r.error(kept.logits, {0, 2}));
  const at::Tensor alone = ask_blended(r.model, *r.codec, r.of({0, 2}), 0);
  CHECK(r.error(some.logits, {0, 2}) < r.error(alone, {0, 2}));
}

TEST_CASE("reuse: a document of which more than half would be recomputed is read whole and kept",
          "[memory_bank][reuse]") {
  Reusing r;
  r.ask({0, 1});
  CHECK(r.variants.counters().variants == 1);
  const auto whole = r.ask({0, 2}, 4);
  CHECK(whole.recomputed == 20);
  CHECK(r.variants.counters().variants == 2);
  CHECK(difference(whole.logits, r.ask_text({0, 2})) <= 1e-3);
  CHECK(r.ask({0, 1}, 4).recomputed == 0);
  CHECK(r.ask({0, 2}, 4).recomputed == 0);
}

TEST_CASE("reuse: a variant's attention adds up to its tokens but for what the prefix took",
          "[memory_bank][reuse]") {
  Reusing r;
  r.ask({0, 1, 2});
  const auto variant = r.variant_of_last();
  const memory_bank::ChunkContext& context = variant->context;
  REQUIRE(context.within.size() == kLayers);
  double outward = 0;
  for (std::size_t l = 0; l < kLayers; ++l) {
    const double to_others = context.before[0].attention[l] + context.before[1].attention[l];
    outward += to_others / kLayers;
    CHECK(context.within[l] > 0);
    // Of 33 tokens and of 7, to which a decoder of random weights pays heed alike.
    CHECK(context.before[0].attention[l] > context.before[1].attention[l]);
    CHECK(to_others > 0);
    CHECK(context.within[l] + to_others < 20);
  }
  double of_tokens = 0;
  for (const float token : variant->outward) {
    of_tokens += token;
  }
  CHECK_THAT(of_tokens, Catch::Matchers::WithinAbs(outward, 1e-4));
}

TEST_CASE("reuse: text is read in sequence whole, a memory alone as it is, and both keep nothing",
          "[memory_bank][reuse]") {
  Reusing r;
  const auto one = r.ask({1});
  CHECK(one.recomputed == 0);
  CHECK(difference(one.logits, r.model.ask(r.codec->to_prefix(r.of({1}), kRoom))) == 0);
  const auto text = r.model.make("text");
  const Memories read = compress(*text, kChunks);
  const std::vector<int64_t> order = {0, 1, 2};
  auto reused =
      memory_bank::start_reused(*r.model.decoder, *text, read, order, kRoom, 1, r.variants);
  CHECK(difference(r.model.ask(std::move(reused.cache)), r.ask_text(order)) < 1e-4);
  CHECK(r.variants.counters().variants == 0);
  CHECK_THROWS_AS(memory_bank::start_reused(*r.model.decoder, *text, read,
                                            std::vector<int64_t>{0, 1}, kRoom, 1, r.variants),
                  InvalidArgument);
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
