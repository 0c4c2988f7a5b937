// Rounds over a pool whose gradients are made up: the method without a model.
#include "alluvium/selectors/adapt_inf.h"

#include <cmath>
#include <map>
#include <set>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "support/made_up_scorer.h"
#include "texts.h"

namespace alluvium::selectors {
namespace {

using tests::MadeUpScorer;

std::vector<Sample> make_samples(int skill, int count, int first = 0) {
  std::vector<Sample> samples;
  for (int i = first; i < first + count; ++i) {
    const std::string text = std::to_string(skill) + ":" + std::to_string(i);
    samples.push_back({text, text, i});
  }
  return samples;
}

RoundReport play(AdaptInf& rounds, int64_t budget) {
  rounds.begin_round();
  while (rounds.score_next(64) > 0) {
  }
  return rounds.finish_round(budget);
}

std::vector<std::string> ids_of(const RoundReport& report) {
  std::vector<std::string> ids;
  for (const Pick& pick : report.picks) {
    ids.push_back(pick.id);
  }
  return ids;
}

TEST_CASE("adapt_inf: a rare skill gets its share", "[selectors][adapt_inf][stream]") {
  const uint64_t seed = GENERATE(range(0U, 5U));
  CAPTURE(seed);
  MadeUpScorer scorer;
  AdaptInf rounds({.clusters = 4, .seed = seed}, scorer, nullptr);
  for (const auto& [skill, size] : {std::pair(0, 2000), {1, 500}, {2, 100}, {3, 20}}) {
    rounds.add(make_samples(skill, size));
  }
  const RoundReport report = play(rounds, 200);
  REQUIRE(report.picks.size() == 200);
  std::map<std::pair<int64_t, char>, int> members;  // of cluster and skill among the picks
  int rare = 0;
  for (const Pick& pick : report.picks) {
    rare += pick.id[0] == '3' ? 1 : 0;
    ++members[{pick.cluster, pick.id[0]}];
  }
  std::map<int64_t, int> largest;
  for (const auto& [key, count] : members) {
    largest[key.first] = std::max(largest[key.first], count);
  }
  int pure = 0;
  for (const auto& [cluster, count] : largest) {
    pure += count;
  }
  CHECK(rare >= 15);
  CHECK(pure >= 180);
}

TEST_CASE("adapt_inf: the unit of a score changes nothing", "[selectors][adapt_inf][property]") {
  MadeUpScorer plain;
  MadeUpScorer scaled(10);
  std::vector<std::vector<std::string>> picks;
  for (MadeUpScorer* scorer : {&plain, &scaled}) {
    AdaptInf rounds({.clusters = 3, .seed = 1}, *scorer, nullptr);
    for (int skill = 0; skill < 3; ++skill) {
      rounds.add(make_samples(skill, 120));
    }
    picks.push_back(ids_of(play(rounds, 60)));
  }
  CHECK(picks[0] == picks[1]);
}

TEST_CASE("adapt_inf: of a flood of copies one is left", "[selectors][adapt_inf][stream]") {
  MadeUpScorer scorer;
  AdaptInf rounds({.clusters = 3}, scorer, nullptr);
  rounds.add(make_samples(0, 100));
  rounds.add(make_samples(1, 100));
  for (int i = 0; i < 1000; ++i) {
    Sample copy{"copy-" + std::to_string(i), "2:0", i};
    rounds.add({&copy, 1});
  }
  const RoundReport report = play(rounds, 30);
  CHECK(report.copies.size() == 999);
  CHECK(rounds.pool_size() == 201);
  CHECK(rounds.find("copy-0") != nullptr);
  CHECK(rounds.find("copy-1") == nullptr);
}

TEST_CASE("adapt_inf: what cannot be learned from leaves with its reason",
          "[selectors][adapt_inf]") {
  MadeUpScorer scorer;
  AdaptInf rounds({.clusters = 2}, scorer, nullptr);
  rounds.add(make_samples(0, 10));
  const Sample bad{"x", "bad", 0};
  rounds.add({&bad, 1});
  const RoundReport report = play(rounds, 100);
  REQUIRE(report.excluded.size() == 1);
  CHECK(report.excluded[0].id == "x");
  CHECK(report.excluded[0].reason == "has no answer tokens");
  CHECK(report.picks.size() == 10);
  CHECK(rounds.find("x") == nullptr);
  // Alone in the pool: nothing is left to pick.
  AdaptInf empty({.clusters = 2}, scorer, nullptr);
  empty.add({&bad, 1});
  CHECK(play(empty, 5).picks.empty());
  CHECK_THROWS_AS(rounds.add(make_samples(0, 1)), InvalidArgument);
}

TEST_CASE("adapt_inf: an interrupted round goes on to the same picks",
          "[selectors][adapt_inf][property]") {
  MadeUpScorer scorer;
  const AdaptInfOptions options{.clusters = 3, .seed = 4};
  const auto fill = [&](AdaptInf& rounds) {
    for (int skill = 0; skill < 3; ++skill) {
      rounds.add(make_samples(skill, 40));
    }
  };
  AdaptInf whole(options, scorer, nullptr);
  fill(whole);
  const std::vector<std::string> wanted = ids_of(play(whole, 30));

  std::string state;
  {
    AdaptInf killed(options, scorer, nullptr);
    fill(killed);
    killed.begin_round();
    CHECK(killed.score_next(50) == 70);
    CHECK_THROWS_AS(killed.finish_round(30), InvalidArgument);
    state = killed.save();
  }
  scorer.calls_.clear();
  AdaptInf resumed(options, scorer, nullptr);
  resumed.restore(state);
  CHECK(resumed.score_next(1000) == 0);
  CHECK(scorer.calls_.size() == 70);
  CHECK(ids_of(resumed.finish_round(30)) == wanted);

  // The next round of both is the same as well.
  whole.add(make_samples(4, 20));
  resumed.add(make_samples(4, 20));
  CHECK(ids_of(play(whole, 30)) == ids_of(play(resumed, 30)));

  AdaptInf other({.clusters = 5}, scorer, nullptr);
  CHECK_THROWS_AS(other.restore(state), DataCorruption);
  CHECK_THROWS_AS(resumed.restore("rubbish"), DataCorruption);
  CHECK(resumed.pool_size() == 140);
}

TEST_CASE("adapt_inf: a round scores what is new, was picked, or is stale, and no more",
          "[selectors][adapt_inf]") {
  MadeUpScorer scorer;
  AdaptInf rounds({.clusters = 2, .refresh_share = 0.1, .refresh_rounds = 2}, scorer, nullptr);
  rounds.add(make_samples(0, 50));
  rounds.add(make_samples(1, 50));
  CHECK(play(rounds, 10).scored == 100);
  rounds.add(make_samples(2, 30));
  CHECK(play(rounds, 10).scored == 30 + 10);
  CHECK(play(rounds, 10).scored == 10);
  // By now those of the first round are three rounds old.
  const RoundReport report = play(rounds, 10);
  CHECK(report.scored > 10);
  CHECK(report.scored <= 10 + 13);
}

TEST_CASE("adapt_inf: pruning shrinks large clusters first and keeps what is pinned",
          "[selectors][adapt_inf]") {
  MadeUpScorer scorer;
  AdaptInf rounds({.clusters = 2, .capacity = 40}, scorer, nullptr);
  rounds.add(make_samples(0, 90));
  rounds.add(make_samples(1, 10));
  const std::vector<std::string> pinned = {"0:7", "0:80", "unknown"};
  rounds.pin(pinned);
  play(rounds, 10);
  const std::vector<Retirement> retired = rounds.prune();
  CHECK(retired.size() == 60);
  CHECK(rounds.pool_size() == 40);
  for (int i = 0; i < 10; ++i) {
    CHECK(rounds.find("1:" + std::to_string(i)) != nullptr);
  }
  CHECK(rounds.find("0:7") != nullptr);
  CHECK(rounds.find("0:80") != nullptr);
  CHECK(rounds.prune().empty());
}

TEST_CASE("adapt_inf, less, d4: as selectors of the registry", "[selectors][adapt_inf]") {
  SelectorOptions options;
  CHECK_THROWS_AS(tests::make_selector("adapt_inf", options), NotSupported);
  CHECK_THROWS_AS(tests::make_selector("less", options), NotSupported);
  CHECK_THROWS_AS(tests::make_selector("d4", options), NotSupported);
  options.gradients = std::make_shared<MadeUpScorer>();
  CHECK_THROWS_AS(tests::make_selector("adapt_inf", options), InvalidArgument);
  options.picks = 6;
  options.clusters = 2;

  const std::vector<Sample> pool =
      tests::samples_of({"0:1", "0:2", "0:3", "0:4", "0:5", "0:5", "1:1", "1:2", "bad", "1:3"});
  const auto selector = tests::make_selector("adapt_inf", options);
  selector->observe(std::span(pool).first(4));
  const std::string state = selector->save();
  const auto resumed = tests::make_selector("adapt_inf", options);
  resumed->restore(state);
  for (const auto* each : {&selector, &resumed}) {
    (*each)->observe(std::span(pool).subspan(4));
    (*each)->end_observing();
  }
  const std::vector<Score> scores = selector->score(pool);
  const std::vector<Score> again = resumed->score(pool);
  double picked = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    picked += scores[i].value;
    CHECK(scores[i].value == again[i].value);
  }
  CHECK(picked == 6);
  CHECK(scores[5].verdict == Verdict::retire);
  CHECK(scores[8].verdict == Verdict::refuse);
  CHECK(scores[8].reason == "has no answer tokens");

  const auto less = tests::make_selector("less", options);
  less->set_targets(tests::targets_of({"1:7", "1:8"}));
  const std::vector<Score> near = less->score(pool);
  for (const std::size_t own : {6U, 7U, 9U}) {
    for (const std::size_t other : {0U, 1U, 2U, 3U, 4U}) {
      CHECK(near[own].value > near[other].value);
    }
  }
  CHECK(near[8].verdict == Verdict::refuse);
  CHECK_THROWS_AS(less->set_targets(tests::targets_of({"bad"})), InvalidArgument);
}

// Letters a to h as axes: the share of each.
class LetterEmbedder final : public TextEmbedder {
 public:
  std::vector<std::vector<float>> embed(std::span<const std::string> texts) const override {
    std::vector<std::vector<float>> rows;
    for (const std::string& text : texts) {
      std::vector<float> row(8);
      for (const char letter : text) {
        row[static_cast<std::size_t>(letter - 'a') % 8] += 1;
      }
      normalise_(row);
      rows.push_back(std::move(row));
    }
    return rows;
  }
};

TEST_CASE("d4: copies leave, the crowded goes, what is far from its prototype is first",
          "[selectors]") {
  SelectorOptions options;
  options.embedder = std::make_shared<LetterEmbedder>();
  options.clusters = 1;
  options.d4_kept = 0.75;
  const std::vector<Sample> pool =
      tests::samples_of({"aaaa", "aaaa", "aaab", "aaabb", "bbbb", "cccc", "aabb", "h"});
  const auto d4 = tests::make_selector("d4", options);
  d4->observe(pool);
  const auto resumed = tests::make_selector("d4", options);
  resumed->restore(d4->save());
  d4->end_observing();
  resumed->end_observing();
  const std::vector<Score> scores = d4->score(pool);
  CHECK(scores[1].verdict == Verdict::retire);
  CHECK(scores[0].verdict == Verdict::rank);
  // 6 of 8 stay: beside the copy the one most like an earlier row goes.
  int ranked = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    ranked += scores[i].verdict == Verdict::rank ? 1 : 0;
    CHECK(scores[i].value == resumed->score(pool)[i].value);
  }
  CHECK(ranked == 6);
  CHECK(scores[7].value > scores[0].value);
}

}  // namespace
}  // namespace alluvium::selectors
