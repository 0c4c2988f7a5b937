#include "document_choice.h"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "alluvium/backbone/generation.h"
#include "alluvium/core/error.h"
#include "alluvium/service/prompt.h"
#include "alluvium/service/refusal.h"
#include "support/catch.h"
#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::service {
namespace {

using backbone::TokenId;
using Catch::Matchers::WithinAbs;

constexpr int64_t kRoom = 60;

/// Memories of the tiny decoder, and candidates over them.
struct Choice {
  Candidate candidate(const std::string& text, double score) const {
    const auto memories = codec().compress(document_chunks(
        configuration.prompt, *models.decoder_tokenizer, tests::make_document("d", 1, "", text)));
    const auto memory = std::make_shared<const memory_bank::Memory>(memories.front());
    return {.cache = models.decoder->start(codec().to_prefix({&memory, 1}, kRoom), kRoom),
            .retrieval_score = score,
            .logits = {}};
  }

  const memory_bank::Codec& codec() const { return engine->codec("kv"); }

  std::vector<TokenId> tokens(const std::string& text) const {
    return models.decoder_tokenizer->encode(text);
  }

  c10::InferenceMode inference;
  tests::TemporaryDirectory directory;
  Models models = tests::make_tiny_models(directory.path());
  Configuration configuration = tests::tiny_configuration(directory.path());
  std::unique_ptr<Engine> engine = Engine::start(configuration, models);
};

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) {
    total += value;
  }
  return total;
}

}  // namespace

TEST_CASE("document choice: each candidate's figures are those of reading it alone",
          "[service][document_choice]") {
  const Choice c;
  const std::vector<TokenId> question = c.tokens("How many piers has Oslo?");
  const std::vector<TokenId> refusal = c.tokens(" I do not");
  REQUIRE(question.size() > 2);
  // More rows than are read at once, so that the candidates travel in groups.
  std::vector<Candidate> candidates;
  const auto text = [](std::size_t i) {
    return fmt::format("The harbour {} has {} piers.", std::string(1 + i % 5, 'a'), i);
  };
  const std::size_t count = 600 / (question.size() + refusal.size()) + 2;
  for (std::size_t i = 0; i < count; ++i) {
    candidates.push_back(c.candidate(text(i), 1));
  }
  choose_document(*c.models.decoder, candidates, {.tokens = question, .refusal = refusal}, {});
  for (std::size_t i = 0; i < count; ++i) {
    Candidate alone = c.candidate(text(i), 1);
    const double likelihood = sum(score_tokens(*c.models.decoder, alone.cache, {question.data(), 1},
                                               std::span<const TokenId>(question).subspan(1)));
    CHECK_THAT(candidates[i].question_log_probability, WithinAbs(likelihood, 1e-3));
    Candidate again = c.candidate(text(i), 1);
    const double p = std::exp(sum(score_tokens(*c.models.decoder, again.cache, question, refusal)));
    CHECK_THAT(candidates[i].evidence,
               WithinAbs(std::min(20.0, std::log1p(-p) - std::log(p)), 2e-3));
  }
}

TEST_CASE(
    "document choice: the answer goes on as if the question had been read over that one alone",
    "[service][document_choice]") {
  const Choice c;
  const std::vector<TokenId> question = c.tokens("How many piers?");
  std::vector<Candidate> candidates;
  candidates.push_back(c.candidate("Nine piers stand in the harbour.", 1));
  candidates.push_back(c.candidate("Nobody knows of any crane.", 3));
  const std::size_t best = choose_document(
      *c.models.decoder, candidates, {.tokens = question, .refusal = c.tokens(" No answer")}, {});
  backbone::GenerationOptions options;
  options.max_tokens = 8;
  Candidate alone =
      c.candidate(best == 0 ? "Nine piers stand in the harbour." : "Nobody knows of any crane.", 1);
  const auto expected = backbone::generate(*c.models.decoder, *c.models.decoder_tokenizer,
                                           alone.cache, question, options);
  const auto chosen =
      backbone::generate_after(*c.models.decoder, *c.models.decoder_tokenizer,
                               candidates[best].cache, candidates[best].logits, options);
  CHECK(chosen.tokens == expected.tokens);
  CHECK_THAT(chosen.log_probability, WithinAbs(expected.log_probability, 1e-3));
}

TEST_CASE("document choice: weights are a softmax over the configured figures",
          "[service][document_choice]") {
  const Choice c;
  const std::vector<TokenId> question = c.tokens("How many piers?");
  const auto choose = [&](double first, double second, const ChoiceWeights& weights) {
    std::vector<Candidate> candidates;
    candidates.push_back(c.candidate("Nine piers.", first));
    candidates.push_back(c.candidate("Nine piers.", second));
    const std::size_t best = choose_document(*c.models.decoder, candidates,
                                             {.tokens = question, .refusal = {}}, weights);
    CHECK_THAT(candidates[0].weight + candidates[1].weight, WithinAbs(1, 1e-12));
    CHECK(candidates[0].evidence == 0);
    return std::pair(best, candidates[1].weight);
  };
  // Both memories are the same, so only the retrieval score tells them apart: shares 1/2 and 1, times 4.
  const auto [best, weight] = choose(1.5, 3, {.retrieval = 4});
  CHECK(best == 1);
  CHECK_THAT(weight, WithinAbs(1 / (1 + std::exp(-2.0)), 1e-9));
  // Named documents have no score; a tie goes to the first.
  CHECK(choose(0, 0, {}).first == 0);
  CHECK_THAT(choose(0, 0, {}).second, WithinAbs(0.5, 1e-9));
  CHECK(choose(1, 3, {.retrieval = 0}).first == 0);
}

TEST_CASE(
    "refusal: the odds are those of its tokens read one after another, and the cache is left as it "
    "was",
    "[service][refusal]") {
  const Choice c;
  const std::vector<TokenId> question = c.tokens("How many piers?");
  const auto read = [&](Candidate& over) {
    const backbone::ReadRequest request{
        .cache = &over.cache, .tokens = question, .logits = backbone::Logits::last};
    return c.models.decoder->read({&request, 1}).front().logits;
  };
  Candidate over = c.candidate("Nine piers.", 1);
  const at::Tensor logits = read(over);
  const int64_t slots = over.cache.slots();
  const auto likeliest = static_cast<TokenId>(logits.argmax().item<int64_t>());
  const auto unlikeliest = static_cast<TokenId>(logits.argmin().item<int64_t>());
  const auto odds = [&](const std::vector<TokenId>& refusal) {
    return odds_against_refusal(*c.models.decoder, over.cache, logits, refusal, nullptr);
  };
  const auto exact = [&](const std::vector<TokenId>& refusal) {
    Candidate alone = c.candidate("Nine piers.", 1);
    return odds_against_refusal(
        sum(score_tokens(*c.models.decoder, alone.cache, question, refusal)));
  };
  REQUIRE(logits.softmax(0).max().item<float>() > 0.01F);
  const std::vector<TokenId> whole = {likeliest, 5, 9};
  CHECK_THAT(odds(whole), WithinAbs(exact(whole), 1e-3));
  CHECK(over.cache.slots() == slots);
  REQUIRE(logits.softmax(0).min().item<float>() < 0.01F);
  CHECK_THAT(odds({unlikeliest, 5, 9}), WithinAbs(exact({unlikeliest}), 1e-3));
  // What is unlikely is the caller's to say; an answer that would begin so is read on in any case.
  const auto second =
      static_cast<TokenId>(std::get<1>(logits.topk(2)).select(0, 1).item<int64_t>());
  CHECK_THAT(odds_against_refusal(*c.models.decoder, over.cache, logits,
                                  std::vector<TokenId>{second, 5, 9}, nullptr, 1.0),
             WithinAbs(exact({second}), 1e-3));
  CHECK_THAT(odds_against_refusal(*c.models.decoder, over.cache, logits, whole, nullptr, 1.0),
             WithinAbs(exact(whole), 1e-3));
  CHECK_THAT(odds_against_refusal(*c.models.decoder, over.cache, logits,
                                  std::vector<TokenId>{unlikeliest, 5, 9}, nullptr, 0.0),
             WithinAbs(exact({unlikeliest, 5, 9}), 1e-3));
  CHECK(odds({}) == 0);
  CHECK(odds_against_refusal(0.0) == -20);
  CHECK(odds_against_refusal(-100.0) == 20);
  CHECK_THAT(odds_against_refusal(std::log(0.25)), WithinAbs(std::log(3.0), 1e-12));
}

TEST_CASE("document choice: nothing to choose from is refused", "[service][document_choice]") {
  const Choice c;
  const std::vector<TokenId> question = c.tokens("Who?");
  CHECK_THROWS_AS(choose_document(*c.models.decoder, {}, {.tokens = question, .refusal = {}}, {}),
                  InvalidArgument);
  std::vector<Candidate> candidates;
  candidates.push_back(c.candidate("Nine piers.", 1));
  CHECK_THROWS_AS(choose_document(*c.models.decoder, candidates, {.tokens = {}, .refusal = {}}, {}),
                  InvalidArgument);
}

}  // namespace alluvium::service
