// Reading ahead in a text that is quoted: the same tokens as one at a time, in fewer passes.
#include "alluvium/backbone/generation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "reference_lookup.h"
#include "support/catch.h"
#include "support/tiny_decoder.h"

namespace alluvium::backbone {
namespace {

using tests::TinyDecoder;

std::vector<TokenId> follow(const std::vector<TokenId>& reference,
                            const std::vector<TokenId>& generated, int64_t limit,
                            const std::vector<TokenId>& topic = {}) {
  const auto found = ReferenceLookup(reference, topic).follow(generated, limit);
  return {found.begin(), found.end()};
}

constexpr int64_t kTokens = 24;

struct Run {
  Generation generation;
  int64_t slots = 0;  // of the cache afterwards
};

Run run(const TinyDecoder& tiny, const GenerationOptions& options,
        const TextCallback& on_text = nullptr) {
  const std::vector<TokenId> prompt = {5, 6, 7, 8};
  KvCache cache = tiny.decoder->start({}, static_cast<int64_t>(prompt.size()) + kTokens);
  Generation generation = generate(*tiny.decoder, *tiny.tokenizer, cache, prompt, options, on_text);
  return {std::move(generation), cache.slots()};
}

}  // namespace

TEST_CASE("reference lookup: what follows the longest end that stands in the text",
          "[backbone][generation]") {
  const std::vector<TokenId> text = {1, 2, 3, 4, 9, 2, 3, 5, 6, 3, 7};
  CHECK(follow(text, {3}, 2) == std::vector<TokenId>{4, 9});           // the first of three
  CHECK(follow(text, {8, 9, 2, 3}, 2) == std::vector<TokenId>{5, 6});  // 9 2 3 is longer than 2 3
  CHECK(follow(text, {6, 3}, 4) == std::vector<TokenId>{7});           // the text ends
  CHECK(follow(text, {7}, 4).empty());                                 // nothing follows
  CHECK(follow(text, {8}, 4).empty());
  CHECK(follow(text, {}, 4).empty());
  CHECK(follow({}, {1}, 4).empty());
  CHECK(follow(text, {3}, 0).empty());
}

TEST_CASE("reference lookup: of places that fit equally the one nearest to the topic",
          "[backbone][generation]") {
  // 7 stands at 0, 40 and 80, each followed by its own token.
  std::vector<TokenId> text(100, 1);
  text[0] = text[40] = text[80] = 7;
  text[1] = 10;
  text[41] = 11;
  text[81] = 12;
  text[30] = 5;
  text[70] = text[99] = 6;
  CHECK(follow(text, {7}, 1) == std::vector<TokenId>{10});
  CHECK(follow(text, {7}, 1, {5}) == std::vector<TokenId>{11});
  CHECK(follow(text, {7}, 1, {6}) == std::vector<TokenId>{12});
  CHECK(follow(text, {7}, 1, {6, 5}) == std::vector<TokenId>{11});  // one of one, not one of two
  CHECK(follow(text, {7}, 1, {7}) == std::vector<TokenId>{10});     // itself is not its neighbour
  CHECK(follow(text, {7}, 1, {9}) == std::vector<TokenId>{10});
  text[79] = 3;
  CHECK(follow(text, {3, 7}, 1, {5}) == std::vector<TokenId>{12});  // the longer end comes first
}

TEST_CASE("generation: reading ahead picks the same tokens in fewer passes",
          "[backbone][generation][property]") {
  const TinyDecoder tiny;
  GenerationOptions options;
  options.max_tokens = kTokens;
  SECTION("greedy") {}
  SECTION("sampled") {
    options.temperature = 1.5;
    options.top_p = 0.9;
    options.seed = 3;
  }
  const Run alone = run(tiny, options);
  REQUIRE(alone.generation.tokens.size() == static_cast<std::size_t>(kTokens));
  REQUIRE(alone.generation.passes == kTokens - 1);
  REQUIRE(alone.generation.read_ahead == 0);

  Random random(11);
  int64_t kept = 0;
  for (int round = 0; round < 30; ++round) {
    // What will be said, with more and more of it replaced, after some noise.
    std::vector<TokenId> reference;
    for (int i = 0; i < 5; ++i) {
      reference.push_back(static_cast<TokenId>(random.below(tests::TinyLlama::kVocabulary)));
    }
    for (const TokenId token : alone.generation.tokens) {
      const bool replaced = random.below(30) < static_cast<uint64_t>(round);
      reference.push_back(
          replaced ? static_cast<TokenId>(random.below(tests::TinyLlama::kVocabulary)) : token);
    }
    options.reference = reference;
    options.read_ahead = round % 6;
    const Run quoting = run(tiny, options);
    CAPTURE(round);
    CHECK(quoting.generation.tokens == alone.generation.tokens);
    CHECK(quoting.generation.text == alone.generation.text);
    CHECK(quoting.generation.finish == alone.generation.finish);
    CHECK_THAT(quoting.generation.log_probability,
               Catch::Matchers::WithinAbs(alone.generation.log_probability, 1e-3));
    CHECK(quoting.slots == alone.slots);
    CHECK(quoting.generation.passes + quoting.generation.kept_ahead == kTokens - 1);
    CHECK(quoting.generation.kept_ahead <= quoting.generation.read_ahead);
    kept += quoting.generation.kept_ahead;
  }
  CHECK(kept > 100);
}

TEST_CASE("generation: an end inside what was read ahead ends the answer there",
          "[backbone][generation]") {
  const TinyDecoder tiny;
  GenerationOptions options;
  options.max_tokens = kTokens;
  options.temperature = 1.5;
  options.seed = 5;
  const Run whole = run(tiny, options);
  const std::vector<TokenId>& said = whole.generation.tokens;
  const std::vector<TokenId> reference = said;
  options.reference = reference;
  options.read_ahead = 7;

  SECTION("a stop token") {
    std::size_t at = 3;  // the first token after the third that was not said before
    while (std::find(said.begin(), said.begin() + static_cast<int64_t>(at), said[at]) !=
           said.begin() + static_cast<int64_t>(at)) {
      ++at;
    }
    options.stop_tokens = {said[at]};
    const Run stopped = run(tiny, options);
    CHECK(stopped.generation.finish == FinishReason::stop);
    CHECK(stopped.generation.tokens ==
          std::vector<TokenId>(said.begin(), said.begin() + static_cast<int64_t>(at)));
    CHECK(stopped.generation.passes < static_cast<int64_t>(at));
  }
  SECTION("the longest answer allowed, and no slot beyond it") {
    options.max_tokens = 6;
    const std::vector<TokenId> prompt = {5, 6, 7, 8};
    KvCache cache = tiny.decoder->start({}, static_cast<int64_t>(prompt.size()) + 6);
    const Generation six = generate(*tiny.decoder, *tiny.tokenizer, cache, prompt, options);
    CHECK(six.tokens == std::vector<TokenId>(said.begin(), said.begin() + 6));
    CHECK(six.finish == FinishReason::length);
  }
  SECTION("a listener that has heard enough") {
    int pieces = 0;
    const Run cancelled = run(tiny, options, [&](std::string_view) { return ++pieces < 3; });
    CHECK(cancelled.generation.finish == FinishReason::cancelled);
    CHECK(cancelled.generation.tokens.size() < said.size());
    CHECK(std::equal(cancelled.generation.tokens.begin(), cancelled.generation.tokens.end(),
                     said.begin()));
  }
  SECTION("a number to read ahead outside its range is refused") {
    options.read_ahead = -1;
    CHECK_THROWS_AS(run(tiny, options), InvalidArgument);
  }
}

}  // namespace alluvium::backbone
