#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>

#include "alluvium/core/error.h"
#include "alluvium/selectors/row_matrix.h"
#include "recent_rows.h"
#include "support/catch.h"
#include "texts.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
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

// How often each letter stands in a text: the order of its words does not matter.
class LetterEmbedder final : public selectors::TextEmbedder {
 public:
  std::vector<std::vector<float>> embed(std::span<const std::string> texts) const override {
    std::vector<std::vector<float>> rows;
    for (const std::string& text : texts) {
      std::vector<float> row(26);
      for (const char letter : text) {
        if (letter >= 'a' && letter <= 'z') {
          row[static_cast<std::size_t>(letter - 'a')] += 1;
        }
      }
      selectors::normalise_(row);
      rows.push_back(std::move(row));
    }
    embedded += std::ssize(texts);
    return rows;
  }

  mutable int64_t embedded = 0;
};

// Letters of its own for each, so that cosines between them are small.
std::string few_letters(int number) {
  std::string text;
  for (int w = 0; w < 40; ++w) {
    text += static_cast<char>('a' + number % 26);
    text += static_cast<char>('a' + (number * 7 + 3) % 26);
    text += std::to_string(w) + " ";
  }
  return text;
}

std::string reversed_words(const std::string& text) {
  std::string reversed;
  for (std::size_t end = text.size(); end > 0;) {
    const std::size_t space = text.find_last_of(' ', end - 1);
    const std::size_t begin = space == std::string::npos ? 0 : space + 1;
    reversed += text.substr(begin, end - begin) + " ";
    end = space == std::string::npos ? 0 : space;
  }
  return reversed;
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
  options = {};
  options.dedupe_semantic = 1.5;
  CHECK_THROWS_WITH(make_selector("dedupe", options), Catch::Contains("dedupe_semantic"));
  options.dedupe_semantic = 0.98;
  CHECK_THROWS_AS(make_selector("dedupe", options), NotSupported);
}

TEST_CASE("dedupe: what means the same in other words is a copy where embeddings are asked for",
          "[selectors][dedupe]") {
  const auto embedder = std::make_shared<LetterEmbedder>();
  SelectorOptions options;
  options.embedder = embedder;
  const std::vector<Sample> samples =
      samples_of({few_letters(0), few_letters(1), reversed_words(few_letters(0)), few_letters(1)});
  const auto by_words = make_selector("dedupe", options);
  CHECK(by_words->score(samples)[2].verdict == Verdict::rank);
  CHECK(embedder->embedded == 0);

  options.dedupe_semantic = 0.98;
  const auto selector = make_selector("dedupe", options);
  CHECK(selector->label() == "dedupe 0.8, embeddings above 0.98");
  const std::vector<Score> scores = selector->score(samples);
  CHECK(scores[0].verdict == Verdict::rank);
  CHECK(scores[1].verdict == Verdict::rank);
  CHECK(scores[2].verdict == Verdict::retire);
  CHECK(scores[2].reason == "means what row-0 does (cosine 1.0000)");
  CHECK(scores[3].reason == "exact copy of row-1");
  // Copies by their words are not embedded at all, where they come after what they copy.
  embedder->embedded = 0;
  selector->score(std::span(samples).subspan(1));
  CHECK(embedder->embedded == 1);
}

TEST_CASE("dedupe: embeddings are forgotten with their texts", "[selectors][dedupe]") {
  SelectorOptions options;
  options.embedder = std::make_shared<LetterEmbedder>();
  options.dedupe_semantic = 0.98;
  options.dedupe_capacity = 3;
  const auto selector = make_selector("dedupe", options);
  std::vector<std::string> texts;
  for (int i = 0; i < 5; ++i) {
    texts.push_back(few_letters(i));
  }
  texts.push_back(reversed_words(texts[2]));  // remembered: 2, 3, 4
  texts.push_back(reversed_words(texts[1]));  // forgotten; now 3, 4, 6
  texts.push_back(texts[2]);  // a copy when the batch begins, forgotten by then: embedded after all
  texts.push_back(reversed_words(texts[2]));
  const std::vector<Sample> samples = samples_of(texts);
  selector->score(std::span(samples).first(5));
  const std::vector<Score> scores = selector->score(std::span(samples).subspan(5));
  CHECK(scores[0].reason == "means what row-2 does (cosine 1.0000)");
  CHECK(scores[1].verdict == Verdict::rank);
  CHECK(scores[2].verdict == Verdict::rank);
  CHECK(scores[3].reason == "means what row-7 does (cosine 1.0000)");
}

TEST_CASE("dedupe: with embeddings too it goes on after a restart, and however the stream is cut",
          "[selectors][dedupe][property]") {
  const auto seed = GENERATE(range(0U, 5U));
  CAPTURE(seed);
  Random random(seed);
  SelectorOptions options;
  options.embedder = std::make_shared<LetterEmbedder>();
  options.dedupe_semantic = 0.999;
  options.dedupe_capacity = 20;
  std::vector<std::string> texts = distinct_texts(seed, 30);
  for (int i = 0; i < 60; ++i) {
    const std::string& earlier = texts[texts.size() - 1 - random.below(30)];
    texts.push_back(i % 3 == 0 ? babble(random, 500, 2000) : reversed_words(earlier));
  }
  const std::vector<Sample> samples = samples_of(texts);
  const std::vector<Score> whole = make_selector("dedupe", options)->score(samples);
  CHECK(std::count_if(whole.begin(), whole.end(),
                      [](const Score& score) { return score.reason.find("means what") == 0; }) > 5);

  auto selector = make_selector("dedupe", options);
  for (std::size_t begin = 0; begin < samples.size();) {
    const std::size_t count = std::min<std::size_t>(1 + random.below(9), samples.size() - begin);
    const auto scores = selector->score(std::span(samples).subspan(begin, count));
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(scores[i].verdict == whole[begin + i].verdict);
      CHECK(scores[i].value == whole[begin + i].value);
      CHECK(scores[i].reason == whole[begin + i].reason);
    }
    begin += count;
    const std::string state = selector->save();
    selector = make_selector("dedupe", options);
    selector->restore(state);
    CHECK(selector->save() == state);
  }
  // Without the embeddings it is the state of another selector.
  SelectorOptions words;
  CHECK_THROWS_AS(selector->restore(make_selector("dedupe", words)->save()), DataCorruption);
}

TEST_CASE("recent rows: the nearest above a cosine is what a full search finds",
          "[selectors][dedupe][property]") {
  const auto seed = GENERATE(range(0U, 4U));
  const int64_t dimension = GENERATE(1, 5, 64, 65, 200);
  const int64_t capacity = GENERATE(1, 7, 40);
  CAPTURE(seed, dimension, capacity);
  Random random(seed);
  selectors::RecentRows recent(capacity);
  CHECK_FALSE(recent.nearest_above(std::vector<float>(3), -2));
  std::deque<std::vector<float>> slow;
  for (int i = 0; i < 120; ++i) {
    std::vector<float> row(static_cast<std::size_t>(dimension));
    const bool alike = !slow.empty() && random.below(3) == 0;
    const double noise = 0.3 * random.uniform() / std::sqrt(static_cast<double>(dimension));
    const std::vector<float> earlier = alike ? slow[random.below(slow.size())] : row;
    for (std::size_t d = 0; d < row.size(); ++d) {
      row[d] = earlier[d] + static_cast<float>((alike ? noise : 1) * random.normal());
    }
    selectors::normalise_(row);
    for (const float least : {-2.0F, 0.5F, 0.98F}) {
      std::optional<double> best;
      for (const std::vector<float>& other : slow) {
        double cosine = 0;
        for (std::size_t d = 0; d < row.size(); ++d) {
          cosine += static_cast<double>(row[d]) * static_cast<double>(other[d]);
        }
        best = std::max(best.value_or(-3), cosine);
      }
      const auto found = recent.nearest_above(row, least);
      if (best && std::abs(*best - static_cast<double>(least)) > 1e-5) {
        REQUIRE(found.has_value() == (*best > static_cast<double>(least)));
      }
      if (found) {
        REQUIRE_THAT(static_cast<double>(found->cosine), WithinAbs(*best, 1e-5));
        const auto& named = slow[static_cast<std::size_t>(found->place)];
        REQUIRE_THAT(static_cast<double>(selectors::dot(row, named)), WithinAbs(*best, 1e-5));
      }
    }
    recent.append(row);
    slow.push_back(row);
    if (std::ssize(slow) > capacity) {
      slow.pop_front();
    }
    REQUIRE(recent.size() == std::ssize(slow));
  }
  selectors::RecentRows restored(capacity);
  restored.restore(recent.rows());
  CHECK(restored.rows().values == recent.rows().values);
  // Of equal ones the oldest. With one number all rows are equal, or opposite.
  if (capacity > 1 && dimension > 1) {
    recent.append(slow.back());
    CHECK(recent.nearest_above(slow.back(), 0.98F)->place == recent.size() - 2);
  }
  CHECK_THROWS_AS(recent.append(std::vector<float>(3)), InvalidArgument);
}

}  // namespace alluvium::tests
