#include "alluvium/selectors/stream_gate.h"

#include <algorithm>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "texts.h"

namespace alluvium::tests {
namespace {

using selectors::Passage;
using selectors::Sample;
using selectors::Score;
using selectors::Selector;
using selectors::StreamGate;
using selectors::Verdict;

/// Scores are what the texts say: a number, "refuse" or "retire"; the exact score of a number is its negative.
class SpokenScores : public Selector {
 public:
  explicit SpokenScores(int64_t survivors = 1, bool ranks = true)
      : survivors_(survivors), ranks_(ranks) {}

  std::string label() const override { return "spoken"; }
  bool needs_targets() const override { return ranks_; }
  void set_targets(std::shared_ptr<const selectors::TargetSet>) override {}
  int64_t survivors_per_pick() const override { return survivors_; }
  std::string explain(const Sample&, double) override { return ""; }

  std::vector<Score> score(std::span<const Sample> samples) override {
    std::vector<Score> scores;
    for (const Sample& sample : samples) {
      if (sample.text == "refuse") {
        scores.push_back({.verdict = Verdict::refuse, .reason = "said so"});
      } else if (sample.text == "retire") {
        scores.push_back({.verdict = Verdict::retire, .reason = "known"});
      } else {
        scores.push_back({.value = std::stod(sample.text), .reason = ""});
      }
    }
    return scores;
  }

  std::vector<Score> refine(std::span<const Sample> samples) override {
    std::vector<Score> scores = score(samples);
    for (Score& score : scores) {
      score.value = -score.value;
    }
    return scores;
  }

 private:
  int64_t survivors_;
  bool ranks_;
};

std::vector<Sample> spoken(const std::vector<std::string>& texts) {
  std::vector<Sample> samples;
  for (const std::string& text : texts) {
    samples.push_back({.id = std::to_string(samples.size()), .text = text});
  }
  return samples;
}

std::vector<Sample> random_numbers(uint64_t seed, int64_t count) {
  Random random(seed);
  std::vector<std::string> texts;
  for (int64_t i = 0; i < count; ++i) {
    texts.push_back(std::to_string(random.below(50)));
  }
  return spoken(texts);
}

std::string outcomes(const std::vector<Passage>& passages) {
  std::string marks;
  for (const Passage& passage : passages) {
    marks += "+-?x"[static_cast<int>(passage.outcome)];
  }
  return marks;
}

std::string judge_by(StreamGate& gate, std::span<const Sample> samples, std::size_t step) {
  std::string marks;
  for (std::size_t begin = 0; begin < samples.size(); begin += step) {
    marks += outcomes(gate.judge(samples.subspan(begin, std::min(step, samples.size() - begin))));
  }
  return marks;
}

// Words of one domain, and one in three that all domains use. The larger the vocabulary, the worse its texts compress together.
std::string domain_text(Random& random, uint64_t domain, uint64_t vocabulary) {
  std::string text;
  while (text.size() < 400) {
    const bool is_common = random.below(3) == 0;
    Random word(is_common ? random.below(80) : 1'000'000 * domain + random.below(vocabulary));
    for (uint64_t letters = 3 + word.below(6); letters > 0; --letters) {
      text += static_cast<char>('a' + word.below(26));
    }
    text += ' ';
  }
  return text;
}

struct Domain {
  uint64_t number;
  uint64_t vocabulary;
};

std::shared_ptr<const selectors::TargetSet> targets_like(Random& random, const Domain& domain,
                                                         int64_t version) {
  selectors::TargetSet targets;
  targets.version = version;
  for (int i = 0; i < 8; ++i) {
    targets.texts.push_back(domain_text(random, domain.number, domain.vocabulary));
  }
  return std::make_shared<selectors::TargetSet>(std::move(targets));
}

struct Admitted {
  double all = 0;       // share of the documents
  double of_after = 0;  // share of the admitted that are of the domain the targets move to
};

// `count` more documents of a stream, half of each domain, by sixteens.
Admitted stream_on(StreamGate& gate, Random& random, const Domain& before, const Domain& after,
                   int64_t count) {
  double admitted = 0;
  double of_after = 0;
  for (int64_t done = 0; done < count; done += 16) {
    std::vector<Sample> samples;
    std::vector<bool> is_after;
    for (int i = 0; i < 16; ++i) {
      is_after.push_back(random.below(2) == 1);
      const Domain& domain = is_after.back() ? after : before;
      samples.push_back({.id = std::to_string(done + i),
                         .text = domain_text(random, domain.number, domain.vocabulary)});
    }
    const std::vector<Passage> passages = gate.judge(samples);
    for (std::size_t i = 0; i < passages.size(); ++i) {
      if (passages[i].outcome == Passage::Outcome::admitted) {
        ++admitted;
        of_after += is_after[i] ? 1 : 0;
      }
    }
  }
  return {admitted / static_cast<double>(count), admitted == 0 ? 0 : of_after / admitted};
}

}  // namespace

TEST_CASE("stream gate: a running quantile by hand, with refusals beside it", "[selectors][gate]") {
  SpokenScores selector;
  StreamGate gate(selector, {.quantile = 0.5, .window = 4});
  //  window   1      1 3      1 3 2     1 3 2 2    3 2 2 9 (1 is gone)
  const auto passages = gate.judge(spoken({"1", "3", "refuse", "2", "retire", "2", "9", "3"}));
  CHECK(outcomes(passages) == "-+?-x-++");
  CHECK(passages[0].reason == "score 1.0000 is below 1.0000");
  CHECK(passages[2].reason == "said so");
  CHECK(passages[3].threshold == 3);
  CHECK(passages[4].reason == "known");
  CHECK(gate.window().first == std::vector<double>{2, 2, 9, 3});
}

TEST_CASE("stream gate: the first ones pass whatever they score", "[selectors][gate]") {
  SpokenScores selector(GENERATE(1, 2));
  StreamGate gate(selector, {.quantile = 0.9, .window = 100, .warm_up = 3});
  CHECK(outcomes(gate.judge(spoken({"5", "4", "refuse", "3", "2"}))) == "++?+-");
}

TEST_CASE("stream gate: what is judged does not depend on how the stream is cut, nor on a restart",
          "[selectors][gate][property]") {
  const auto seed = GENERATE(range(0U, 8U));
  const int64_t survivors = GENERATE(1, 3);
  CAPTURE(seed, survivors);
  const std::vector<Sample> samples = random_numbers(seed, 300);
  const selectors::StreamGateOptions options = {.quantile = 0.8, .window = 40, .warm_up = 5};
  SpokenScores selector(survivors);
  StreamGate whole(selector, options);
  const std::string expected = judge_by(whole, samples, samples.size());
  StreamGate singly(selector, options);
  CHECK(judge_by(singly, samples, 1) == expected);

  StreamGate first(selector, options);
  const std::string before = judge_by(first, std::span(samples).first(130), 7);
  StreamGate second(selector, options);
  second.restore(first.window());
  CHECK(before + judge_by(second, std::span(samples).subspan(130), 7) == expected);
}

TEST_CASE("stream gate: lets about the wanted share through", "[selectors][gate][property]") {
  const double quantile = GENERATE(0.0, 0.5, 0.9);
  const int64_t survivors = GENERATE(1, 3);
  CAPTURE(quantile, survivors);
  Random random(5);
  std::vector<std::string> texts;
  for (int i = 0; i < 4000; ++i) {
    texts.push_back(std::to_string(random.uniform()));
  }
  SpokenScores selector(survivors);
  StreamGate gate(selector, {.quantile = quantile, .window = 500});
  const std::string marks = outcomes(gate.judge(spoken(texts)));
  const auto passed = static_cast<double>(std::count(marks.begin(), marks.end(), '+'));
  CHECK(passed / 4000 == Approx(1 - quantile).margin(0.02));
}

TEST_CASE("stream gate: a selector without targets keeps out only what it retires or refuses",
          "[selectors][gate]") {
  SpokenScores selector(1, false);
  StreamGate gate(selector, {.quantile = 0.9});
  CHECK(outcomes(gate.judge(spoken({"1", "retire", "0", "refuse", "2"}))) == "+x+?+");
}

TEST_CASE("stream gate: when the targets move, what is let through moves within one window",
          "[selectors][gate][zip_fit][stream]") {
  const std::string mode = GENERATE("two_stage", "pool");
  const auto seed = GENERATE(range(0U, 5U));
  // A new domain that aligns with its own targets better than the old one did, as well, or worse: in the last case it does not reach the
  // scores of before.
  const uint64_t vocabulary = GENERATE(40U, 80U, 200U);
  CAPTURE(mode, seed, vocabulary);
  constexpr int64_t kWindow = 240;
  const Domain old_domain{1, 80};
  const Domain new_domain{2, vocabulary};
  Random random(seed);
  selectors::SelectorOptions options;
  options.mode = mode;
  const auto selector = make_selector("zip_fit", options);
  selector->set_targets(targets_like(random, old_domain, 1));
  StreamGate gate(*selector, {.quantile = 0.9, .window = kWindow});
  stream_on(gate, random, old_domain, new_domain, kWindow);
  const Admitted before = stream_on(gate, random, old_domain, new_domain, kWindow);
  const std::size_t remembered = gate.window().first.size();
  CHECK_THROWS_AS(gate.set_targets(std::make_shared<selectors::TargetSet>()), InvalidArgument);
  CHECK(gate.window().first.size() == remembered);
  gate.set_targets(targets_like(random, new_domain, 2));
  const Admitted moving = stream_on(gate, random, old_domain, new_domain, kWindow);
  const Admitted after = stream_on(gate, random, old_domain, new_domain, kWindow);
  CAPTURE(before.all, before.of_after, moving.all, moving.of_after, after.all, after.of_after);
  CHECK(before.of_after < 0.05);
  CHECK(moving.of_after > 0.8);
  CHECK(moving.all == Approx(0.1).margin(0.06));
  CHECK(after.of_after > 0.95);
  CHECK(after.all == Approx(0.1).margin(0.06));
}

TEST_CASE("stream gate: options outside their bounds", "[selectors][gate]") {
  SpokenScores selector;
  CHECK_THROWS_AS(StreamGate(selector, {.quantile = 1}), InvalidArgument);
  CHECK_THROWS_AS(StreamGate(selector, {.quantile = -0.1}), InvalidArgument);
  CHECK_THROWS_AS(StreamGate(selector, {.window = 0}), InvalidArgument);
  CHECK_THROWS_AS(StreamGate(selector, {.warm_up = -1}), InvalidArgument);
}

TEST_CASE("quantile gate: the threshold is the lowest score that would pass",
          "[selectors][ranking][property]") {
  const auto seed = GENERATE(range(0U, 10U));
  Random random(seed);
  selectors::QuantileGate gate(0.7, 30);
  CHECK(gate.threshold() == 0);
  for (int i = 0; i < 100; ++i) {
    gate.accept(static_cast<double>(random.below(12)));
    std::vector<double> sorted = gate.scores();
    std::sort(sorted.begin(), sorted.end());
    double expected = sorted.back();
    for (std::size_t s = sorted.size(); s-- > 0;) {
      const auto below = std::lower_bound(sorted.begin(), sorted.end(), sorted[s]) - sorted.begin();
      if (static_cast<double>(below) >= 0.7 * static_cast<double>(sorted.size())) {
        expected = sorted[s];
      }
    }
    CHECK(gate.threshold() == expected);
  }
}

}  // namespace alluvium::tests
