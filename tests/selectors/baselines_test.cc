// The baselines, each by hand or against the obvious slow form.
#include <cmath>
#include <map>

#include "alluvium/core/error.h"
#include "alluvium/selectors/ranking.h"
#include "dsir_features.h"
#include "support/catch.h"
#include "texts.h"
#include "words.h"

namespace alluvium::tests {
namespace {

using selectors::Sample;
using selectors::Score;
using selectors::Selector;
using selectors::SelectorOptions;
using selectors::Verdict;

std::vector<Score> run_batch(Selector& selector, const std::vector<Sample>& samples) {
  if (selector.observes()) {
    selector.observe(samples);
    selector.end_observing();
  }
  return selector.score(samples);
}

// Every text has one direction of its own, named by its first letter.
class LetterEmbedder final : public selectors::TextEmbedder {
 public:
  std::vector<std::vector<float>> embed(std::span<const std::string> texts) const override {
    std::vector<std::vector<float>> rows;
    for (const std::string& text : texts) {
      rows.emplace_back(26, 0.0F);
      rows.back()[static_cast<std::size_t>(text[0] - 'a')] = 1;
    }
    return rows;
  }
};

}  // namespace

TEST_CASE("words: lower-cased runs of word characters, punctuation apart", "[selectors][words]") {
  using selectors::Punctuation;
  using selectors::split_words;
  using Words = std::vector<std::string>;
  CHECK(split_words("The cat_2 sat... (it's)", Punctuation::keep) ==
        Words{"the", "cat_2", "sat", "...", "(", "it", "'", "s", ")"});
  CHECK(split_words("The cat_2 sat... (it's)", Punctuation::drop) ==
        Words{"the", "cat_2", "sat", "it", "s"});
  CHECK(split_words("ÄRGER\u00a0über\u2003Ⅷ—x", Punctuation::keep) ==
        Words{"ärger", "über", "ⅷ", "—", "x"});
  CHECK(split_words(" \n\t", Punctuation::keep).empty());
}

TEST_CASE("dsir: buckets and log weights as published", "[selectors][dsir][oracle]") {
  const std::vector<std::pair<std::string, int64_t>> buckets = {
      {"the", 8288},   {"cat", 2366},     {"sat", 8505},    {"a", 3499},
      {"dog", 5332},   {"ran", 2022},     {"the cat", 143}, {"cat sat", 8294},
      {"a dog", 6545}, {"dog ran", 6276}, {"cat ran", 5803}};
  for (const auto& [gram, bucket] : buckets) {
    CAPTURE(gram);
    CHECK(selectors::dsir_bucket(gram) == bucket);
  }
  SelectorOptions options;
  options.dsir_min_tokens = 0;
  options.dsir_sample = false;
  const auto selector = make_selector("dsir", options);
  selector->set_targets(targets_of({"The cat ran"}));
  const auto scores = run_batch(*selector, samples_of({"The cat sat.", "a dog ran"}));
  CHECK_THAT(scores[0].value, Catch::WithinAbs(-61.116691, 1e-6));
  CHECK_THAT(scores[1].value, Catch::WithinAbs(-62.867628, 1e-6));
}

TEST_CASE("dsir: short texts are refused, sampling repeats with its seed, state survives",
          "[selectors][dsir]") {
  SelectorOptions options;
  options.dsir_min_tokens = 3;
  const auto samples = samples_of({"one two", "one two three", "four five six seven"});
  const auto first = make_selector("dsir", options);
  first->set_targets(targets_of({"five six"}));
  const auto scores = run_batch(*first, samples);
  CHECK(scores[0].verdict == Verdict::refuse);
  CHECK(scores[1].verdict == Verdict::rank);
  const auto second = make_selector("dsir", options);
  second->set_targets(targets_of({"five six"}));
  second->restore(first->save());
  const auto again = second->score(samples);
  CHECK(again[1].value == scores[1].value);
  CHECK(again[2].value == scores[2].value);
  options.seed = 1;
  const auto other = make_selector("dsir", options);
  other->set_targets(targets_of({"five six"}));
  CHECK(run_batch(*other, samples)[2].value != scores[2].value);
  CHECK_THROWS_AS(second->restore("rubbish"), DataCorruption);
}

TEST_CASE("bm25: by hand", "[selectors][bm25]") {
  // Pool of 3 texts, 8 words: "river" is in 2, "bank" in 1. idf(river) = ln(1 + 1.5 / 2.5) = 0.470004, idf(bank) = ln(1 + 2.5 / 1.5) =
  // 0.980829. Text 0 has 2 words: norm = 1.2 (0.25 + 0.75 * 2 * 3 / 8) = 0.975; river once: 0.470004 * 2.2 / 1.975 = 0.523548.
  // Text 1 has 4 words: norm = 1.2 (0.25 + 0.75 * 1.5) = 1.65; river twice: 0.470004 * 2 * 2.2 / 3.65 = 0.566580, bank once:
  // 0.980829 * 2.2 / 2.65 = 0.814273. The target has each word once.
  const auto selector = make_selector("bm25", SelectorOptions());
  selector->set_targets(targets_of({"River, bank!"}));
  const auto samples = samples_of({"river flows", "river bank river sand", "quiet town"});
  const auto scores = run_batch(*selector, samples);
  CHECK_THAT(scores[0].value, Catch::WithinAbs(0.523548, 1e-5));
  CHECK_THAT(scores[1].value, Catch::WithinAbs(0.566580 + 0.814273, 1e-5));
  CHECK(scores[2].value == 0);
  CHECK_THAT(selector->explain(samples[1], scores[1].value), Catch::Contains("most by 'bank'"));

  const auto restored = make_selector("bm25", SelectorOptions());
  restored->set_targets(targets_of({"River, bank!"}));
  restored->restore(selector->save());
  CHECK(restored->score(samples)[1].value == scores[1].value);
}

TEST_CASE("random: a draw depends on seed and arrival only", "[selectors][random]") {
  SelectorOptions options;
  options.seed = 5;
  const auto selector = make_selector("random", options);
  CHECK_FALSE(selector->needs_targets());
  const auto all = selector->score(samples_of({"a", "b", "c"}));
  const Sample last{"x", "other text", 2};
  CHECK(selector->score({&last, 1})[0].value == all[2].value);
  CHECK(all[0].value != all[1].value);
}

TEST_CASE("length-matched random: as many of every length as ZIP-FIT picks",
          "[selectors][random][property]") {
  const auto seed = GENERATE(range(0U, 6U));
  CAPTURE(seed);
  Random random(seed);
  std::vector<std::string> pool;
  for (int i = 0; i < 300; ++i) {
    pool.push_back(babble(random, 30 + random.below(900), 40 + random.below(400)));
  }
  SelectorOptions options = whole_texts("ref");
  options.seed = seed;
  options.picks = 40;
  const auto targets = targets_of({pool[3], pool[100]});
  const auto samples = samples_of(pool);
  const auto histogram = [&](Selector& selector) {
    selector.set_targets(targets);
    const auto scores = run_batch(selector, samples);
    selectors::TopRanking top(40, 0);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (scores[i].verdict == Verdict::rank) {
        top.add({scores[i].value, samples[i].arrival, 0, samples[i].text});
      }
    }
    std::map<int, int> counts;
    for (const auto& pick : top.take()) {
      ++counts[static_cast<int>(2 * std::log2(static_cast<double>(pick.line.size()) + 1))];
    }
    return counts;
  };
  const auto zip_fit = make_selector("zip_fit", options);
  const auto matched = make_selector("length_matched_random", options);
  CHECK(histogram(*matched) == histogram(*zip_fit));

  const auto restored = make_selector("length_matched_random", options);
  restored->set_targets(targets);
  restored->restore(matched->save());
  CHECK(restored->score(samples)[7].value == matched->score(samples)[7].value);
  options.picks = 0;
  CHECK_THROWS_WITH(make_selector("length_matched_random", options),
                    Catch::Contains("needs picks"));
}

TEST_CASE("embedding: mean cosine to the targets", "[selectors][embedding]") {
  CHECK_THROWS_AS(make_selector("embedding", SelectorOptions()), NotSupported);
  SelectorOptions options;
  options.embedder = std::make_shared<LetterEmbedder>();
  const auto selector = make_selector("embedding", options);
  selector->set_targets(targets_of({"apple", "avocado", "banana", "cherry"}));
  const auto scores = selector->score(samples_of({"aloe", "beet", "dill"}));
  CHECK_THAT(scores[0].value, Catch::WithinAbs(0.5, 1e-12));
  CHECK_THAT(scores[1].value, Catch::WithinAbs(0.25, 1e-12));
  CHECK(scores[2].value == 0);
}

TEST_CASE("registry: the names, and what an unknown one says", "[selectors][registry]") {
  selectors::SelectorRegistry registry("selector");
  selectors::register_selectors(registry);
  CHECK(registry.names() == std::vector<std::string>{"adapt_inf", "bm25", "d4", "dedupe", "dsir",
                                                     "embedding", "length_matched_random", "less",
                                                     "random", "zip_fit"});
  CHECK_THROWS_WITH(
      registry.make("zipfit", SelectorOptions()),
      Catch::Contains("unknown selector 'zipfit'; known: adapt_inf, bm25, d4, dedupe"));
}

}  // namespace alluvium::tests
