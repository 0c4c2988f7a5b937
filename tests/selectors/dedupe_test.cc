#include "alluvium/core/error.h"
#include "support/catch.h"
#include "texts.h"

namespace alluvium::tests {
namespace {

using selectors::Sample;
using selectors::Score;
using selectors::SelectorOptions;
using selectors::Verdict;

std::vector<std::string> distinct_texts(uint64_t seed, int count) {
  Random random(seed);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    texts.push_back(babble(random, 400 + random.below(600), 2000));
  }
  return texts;
}

}  // namespace

TEST_CASE("dedupe: exact and near copies are retired with what they copy, others stay",
          "[selectors][dedupe]") {
  auto texts = distinct_texts(1, 3);
  std::string near = texts[1];
  near.replace(near.size() / 2, 3, "qqq");
  texts.push_back(texts[0]);
  texts.push_back(near);
  const auto selector = make_selector("dedupe", SelectorOptions());
  const auto scores = selector->score(samples_of(texts));
  for (int i = 0; i < 3; ++i) {
    CHECK(scores[i].verdict == Verdict::rank);
  }
  CHECK(scores[3].verdict == Verdict::retire);
  CHECK(scores[3].reason == "exact copy of row-0");
  CHECK(scores[4].verdict == Verdict::retire);
  CHECK_THAT(scores[4].reason, Catch::Contains("near copy of row-1"));
}

TEST_CASE("dedupe: finds planted near copies and retires nothing else",
          "[selectors][dedupe][property]") {
  const auto seed = GENERATE(range(10U, 15U));
  CAPTURE(seed);
  Random random(seed);
  auto texts = distinct_texts(seed, 200);
  for (int i = 0; i < 50; ++i) {
    std::string copy = texts[random.below(200)];
    copy[random.below(copy.size())] = '#';
    texts.push_back(copy);
  }
  const auto selector = make_selector("dedupe", SelectorOptions());
  const auto scores = selector->score(samples_of(texts));
  int64_t found = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const bool retired = scores[i].verdict == Verdict::retire;
    if (i < 200) {
      CHECK_FALSE(retired);
    } else {
      found += retired ? 1 : 0;
    }
  }
  CHECK(found >= 45);  // a changed word breaks five shingles of some hundred
}

TEST_CASE("dedupe: memory is bounded, the oldest is forgotten first", "[selectors][dedupe]") {
  SelectorOptions options;
  options.dedupe_capacity = 10;
  const auto selector = make_selector("dedupe", options);
  const auto texts = distinct_texts(2, 30);
  selector->score(samples_of(texts));
  const auto again = selector->score(samples_of({texts[29], texts[0]}));
  CHECK(again[0].verdict == Verdict::retire);
  CHECK(again[1].verdict == Verdict::rank);
}

TEST_CASE("dedupe: goes on after a restart as if there had been none", "[selectors][dedupe]") {
  SelectorOptions options;
  options.dedupe_capacity = 25;
  auto texts = distinct_texts(3, 40);
  texts.push_back(texts[35]);
  texts.push_back(texts[1]);
  const auto samples = samples_of(texts);
  const auto whole = make_selector("dedupe", options)->score(samples);
  const auto first = make_selector("dedupe", options);
  first->score(std::span(samples).first(37));
  const auto second = make_selector("dedupe", options);
  second->restore(first->save());
  const auto rest = second->score(std::span(samples).subspan(37));
  for (std::size_t i = 0; i < rest.size(); ++i) {
    CHECK(rest[i].verdict == whole[37 + i].verdict);
    CHECK(rest[i].value == whole[37 + i].value);
    CHECK(rest[i].reason == whole[37 + i].reason);
  }
  CHECK_THROWS_AS(second->restore("x"), DataCorruption);
}

TEST_CASE("dedupe: options outside their bounds are named", "[selectors][dedupe]") {
  SelectorOptions options;
  options.duplicate_threshold = 1.5;
  CHECK_THROWS_WITH(make_selector("dedupe", options),
                    Catch::Contains("duplicate_threshold must be in (0, 1], got 1.5"));
  options = {};
  options.dedupe_capacity = 0;
  CHECK_THROWS_WITH(make_selector("dedupe", options), Catch::Contains("dedupe_capacity"));
}

}  // namespace alluvium::tests
