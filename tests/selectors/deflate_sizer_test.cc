// Sizes that are counted against sizes that zlib writes.
#include "deflate_sizer.h"

#include "deflate_cost.h"
#include "support/catch.h"
#include "texts.h"

namespace alluvium::tests {
namespace {

using selectors::make_deflate_sizer;
using selectors::make_zlib_sizer;
using selectors::Texts;

// Kinds of text that stress different parts: language, few symbols, bytes without repeats, long runs, near-copies of each other.
std::string text_of_kind(Random& random, uint64_t kind, std::size_t bytes) {
  std::string text;
  switch (kind) {
    case 0:
      return babble(random, bytes, 2 + random.below(800));
    case 1:
      while (text.size() < bytes) {
        text += static_cast<char>('a' + random.below(1 + random.below(4)));
      }
      return text;
    case 2:
      while (text.size() < bytes) {
        text += static_cast<char>(random.below(256));
      }
      return text;
    case 3:
      while (text.size() < bytes) {
        text.append(1 + random.below(600), static_cast<char>('a' + random.below(6)));
      }
      text.resize(bytes);
      return text;
    default:
      text = babble(random, bytes, 40);
      for (uint64_t changes = random.below(6); changes > 0 && !text.empty(); --changes) {
        text[random.below(text.size())] = static_cast<char>(random.below(256));
      }
      return text;
  }
}

std::string random_text(Random& random, std::size_t longest) {
  // Lengths from nothing to `longest`, short ones as often as long ones.
  const std::size_t bytes = random.below(1 + (longest >> random.below(10)));
  std::string text = text_of_kind(random, random.below(5), bytes);
  if (random.below(4) == 0) {
    text += text_of_kind(random, random.below(5), bytes / 2);
  }
  return text;
}

struct Tally {
  int64_t pairs = 0;
  int64_t mismatches = 0;

  void compare(int64_t counted, int64_t written) {
    ++pairs;
    mismatches += counted == written ? 0 : 1;
  }
};

// All four sizes of `sources` texts beside `targets` others.
Tally compare_all(uint64_t seed, int64_t level, int sources, std::size_t targets,
                  std::size_t longest) {
  Random random(seed);
  Tally tally;
  std::vector<std::string> list;
  for (std::size_t j = 0; j < targets; ++j) {
    list.push_back(random_text(random, longest) + "t");
  }
  const Texts texts = std::make_shared<const std::vector<std::string>>(list);
  const auto counted = make_deflate_sizer(texts, level);
  const auto written = make_zlib_sizer(texts, level);
  std::vector<int64_t> a(targets);
  std::vector<int64_t> b(targets);
  for (int i = 0; i < sources; ++i) {
    // Sources often share text with a target.
    std::string source = random_text(random, longest);
    if (random.below(2) == 0) {
      const std::string& target = list[random.below(targets)];
      source += target.substr(random.below(target.size()));
    }
    counted->joint_sizes(source, a);
    written->joint_sizes(source, b);
    for (std::size_t j = 0; j < targets; ++j) {
      tally.compare(a[j], b[j]);
    }
    counted->conditional_sizes(source, a);
    written->conditional_sizes(source, b);
    for (std::size_t j = 0; j < targets; ++j) {
      tally.compare(a[j], b[j]);
    }
    tally.compare(counted->pooled_size(source), written->pooled_size(source));
    tally.compare(counted->raw_size(source), written->raw_size(source));
    tally.compare(counted->size(source), written->size(source));
  }
  return tally;
}

}  // namespace

TEST_CASE("deflate sizer: equals zlib on 10^5 random pairs and their conditional sizes",
          "[selectors][zip_fit][property]") {
  const int64_t level = GENERATE(4, 5, 6, 7, 8, 9);
  Tally all;
  for (uint64_t round = 0; round < 8; ++round) {
    const Tally tally =
        compare_all(1000 * static_cast<uint64_t>(level) + round, level, 66, 32, 1500);
    all.pairs += tally.pairs;
    all.mismatches += tally.mismatches;
  }
  CAPTURE(level, all.pairs);
  CHECK(all.pairs > 33'000);  // six levels: 10^5 joint sizes, as many conditional ones
  CHECK(all.mismatches == 0);
}

TEST_CASE("deflate sizer: equals zlib where texts pass its own limits",
          "[selectors][zip_fit][property]") {
  const int64_t level = GENERATE(1, 3, 4, 6, 9);
  const auto seed = GENERATE(range(0U, 3U));
  CAPTURE(level, seed);
  CHECK(compare_all(seed, level, 8, 6, 9'000).mismatches == 0);
  CHECK(compare_all(seed, level, 8, 6, 40'000).mismatches == 0);
}

TEST_CASE("deflate sizer: equals zlib on the shortest texts", "[selectors][zip_fit][property]") {
  std::vector<std::string> list;
  for (const char* text : {"a", "aa", "aaa", "ab", "aba", "abab", "aaaaaaaa", "abcabcabc"}) {
    list.emplace_back(text);
  }
  const Texts texts = std::make_shared<const std::vector<std::string>>(list);
  const auto counted = make_deflate_sizer(texts, 6);
  const auto written = make_zlib_sizer(texts, 6);
  std::vector<int64_t> a(list.size());
  std::vector<int64_t> b(list.size());
  list.emplace_back();
  for (const std::string& source : list) {
    CAPTURE(source);
    counted->joint_sizes(source, a);
    written->joint_sizes(source, b);
    CHECK(a == b);
    counted->conditional_sizes(source, a);
    written->conditional_sizes(source, b);
    CHECK(a == b);
    CHECK(counted->pooled_size(source) == written->pooled_size(source));
    CHECK(counted->size(source) == written->size(source));
  }
}

TEST_CASE("deflate sizer: a pool of more than 32 KiB is its last 32 KiB",
          "[selectors][zip_fit][property]") {
  Random random(11);
  std::vector<std::string> list;
  for (int j = 0; j < 60; ++j) {
    list.push_back(babble(random, 900, 700));
  }
  const Texts texts = std::make_shared<const std::vector<std::string>>(list);
  const auto counted = make_deflate_sizer(texts, 6);
  const auto written = make_zlib_sizer(texts, 6);
  for (int i = 0; i < 100; ++i) {
    const std::string source = babble(random, random.below(15'000), 700) + list[random.below(60)];
    CHECK(counted->pooled_size(source) == written->pooled_size(source));
  }
}

TEST_CASE("block cost: code lengths over the limit are cut as zlib cuts them",
          "[selectors][zip_fit]") {
  // Counts that grow like Fibonacci numbers give the deepest tree: 19 symbols need 18 bits, and 15 is the limit. The same counts in a text:
  // shuffled, so that few matches disturb them.
  Random random(5);
  for (int round = 0; round < 20; ++round) {
    std::vector<char> symbols;
    for (int a = 1, b = 1, s = 0; s < 18; ++s) {
      symbols.insert(symbols.end(), static_cast<std::size_t>(a), static_cast<char>('a' + s));
      const int sum = a + b;
      a = b;
      b = sum;
    }
    random.shuffle(symbols);
    const std::string text(symbols.begin(), symbols.end());
    CHECK(make_deflate_sizer(nullptr, 9)->raw_size(text) ==
          make_zlib_sizer(nullptr, 9)->raw_size(text));
    CHECK(make_deflate_sizer(nullptr, 4)->raw_size(text) ==
          make_zlib_sizer(nullptr, 4)->raw_size(text));
  }
}

TEST_CASE("zip_fit: counting gives the scores of writing", "[selectors][zip_fit][property]") {
  const std::string mode = GENERATE("ref", "cond", "pool");
  Random random(12);
  std::vector<std::string> pool;
  for (int i = 0; i < 60; ++i) {
    pool.push_back(babble(random, random.below(3000), 600));
  }
  const auto targets = targets_of({babble(random, 500, 600), babble(random, 800, 600)});
  selectors::SelectorOptions options;
  options.mode = mode;
  const auto counting = make_selector("zip_fit", options);
  options.size_only = false;
  const auto writing = make_selector("zip_fit", options);
  counting->set_targets(targets);
  writing->set_targets(targets);
  const auto samples = samples_of(pool);
  const auto a = counting->score(samples);
  const auto b = writing->score(samples);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    CHECK(a[i].value == b[i].value);
  }
}

}  // namespace alluvium::tests
