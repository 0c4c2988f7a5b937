// Rounds over a pool whose gradients are made up: the method without a model.
#include "alluvium/selectors/adapt_inf.h"

#include <algorithm>
#include <cmath>
#include <functional>
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
  const auto first_round = [&](int64_t budget) {
    AdaptInf rounds({.clusters = 4, .seed = seed}, scorer, nullptr);
    for (const auto& [skill, size] : {std::pair(0, 2000), {1, 500}, {2, 100}, {3, 20}}) {
      rounds.add(make_samples(skill, size));
    }
    return play(rounds, budget);
  };
  // Clusters are made before the budget is shared out: a round that picks everything tells of each sample which is its own.
  const RoundReport everything = first_round(2620);
  REQUIRE(everything.picks.size() == 2620);
  std::map<int64_t, std::map<char, int>> members;  // of each cluster, by skill
  for (const Pick& pick : everything.picks) {
    ++members[pick.cluster][pick.id[0]];
  }
  int pure = 0;
  for (const auto& [cluster, skills] : members) {
    pure += std::max_element(skills.begin(), skills.end(), [](const auto& a, const auto& b) {
              return a.second < b.second;
            })->second;
  }
  CHECK(10 * pure >= 9 * 2620);

  const RoundReport report = first_round(200);
  REQUIRE(report.picks.size() == 200);
  const auto rare = std::count_if(report.picks.begin(), report.picks.end(),
                                  [](const Pick& pick) { return pick.id[0] == '3'; });
  CHECK(rare >= 15);
  // These skills lie far apart, so that every cluster is one of them and the shares can be told beforehand.
  REQUIRE(pure == 2620);
  std::map<int64_t, int64_t> budgets;  // by the cluster's size
  for (const ClusterReport& cluster : report.clusters) {
    budgets[cluster.size] = cluster.budget;
  }
  CHECK(budgets == std::map<int64_t, int64_t>{{20, 20}, {100, 60}, {500, 60}, {2000, 60}});
  CHECK(rare == 20);
}

// Every sample has every score; one of the scores is in a unit of its own.
class EveryScore final : public GradientScorer {
 public:
  EveryScore(Expert scaled, double unit) : scaled_(scaled), unit_(unit) {}

  std::string label() const override { return "every score"; }
  int64_t dimension() const override { return gradients_.dimension(); }

  std::vector<ScoredSample> score(std::span<const Sample> samples) override {
    std::vector<ScoredSample> scored = gradients_.score(samples);
    for (std::size_t i = 0; i < scored.size(); ++i) {
      Random random(std::hash<std::string>{}(samples[i].text) + 1);
      for (const Expert expert : kAllExperts) {
        scored[i].score(expert) = std::exp(random.normal()) * (expert == scaled_ ? unit_ : 1);
      }
    }
    return scored;
  }

 private:
  MadeUpScorer gradients_;
  const Expert scaled_;
  const double unit_;
};

TEST_CASE("adapt_inf: the unit of a score changes nothing, whichever score it is",
          "[selectors][adapt_inf][property]") {
  const Expert scaled = GENERATE(from_range(kAllExperts.begin(), kAllExperts.end()));
  const auto first_round = [&](double unit, const std::vector<Expert>& experts) {
    EveryScore scorer(scaled, unit);
    AdaptInf rounds({.clusters = 3, .experts = experts, .seed = 1}, scorer, nullptr);
    for (int skill = 0; skill < 3; ++skill) {
      rounds.add(make_samples(skill, 120));
    }
    return play(rounds, 60);
  };
  const std::vector<Expert> alone = {scaled};
  const std::vector<Expert> all(kAllExperts.begin(), kAllExperts.end());
  for (const std::vector<Expert>& experts : {alone, all}) {
    const RoundReport once = first_round(1, experts);
    const RoundReport tenfold = first_round(10, experts);
    CAPTURE(to_string(scaled), experts.size());
    CHECK(ids_of(once) == ids_of(tenfold));
    for (std::size_t k = 0; k < once.clusters.size(); ++k) {
      CHECK(once.clusters[k].expert == tenfold.clusters[k].expert);
    }
    for (std::size_t i = 0; i < once.picks.size(); ++i) {
      const Pick& pick = once.picks[i];
      CHECK_THAT(tenfold.picks[i].score,
                 Catch::WithinRel(pick.score * (pick.expert == scaled ? 10 : 1), 1e-12));
    }
  }
}

// Scores by arrival; where a list is short or has NaN there is none. No gradient is like another.
class GivenScores final : public GradientScorer {
 public:
  explicit GivenScores(std::map<Expert, std::vector<double>> scores) : scores_(std::move(scores)) {}

  std::string label() const override { return "given"; }
  int64_t dimension() const override { return 64; }

  std::vector<ScoredSample> score(std::span<const Sample> samples) override {
    std::vector<ScoredSample> scored(samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto arrival = static_cast<std::size_t>(samples[i].arrival);
      scored[i].sketch.resize(64);
      scored[i].sketch.at(arrival) = 1;
      for (const auto& [expert, values] : scores_) {
        scored[i].score(expert) = values.at(arrival);
      }
    }
    return scored;
  }

 private:
  const std::map<Expert, std::vector<double>> scores_;
};

RoundReport one_cluster(std::map<Expert, std::vector<double>> scores, int64_t budget) {
  const auto samples = static_cast<int>(scores.begin()->second.size());
  GivenScores scorer(std::move(scores));
  AdaptInf rounds({.clusters = 1}, scorer, nullptr);
  rounds.add(make_samples(0, samples));
  RoundReport report = play(rounds, budget);
  REQUIRE(report.clusters.size() == 1);
  REQUIRE(report.clusters[0].size == samples);
  return report;
}

TEST_CASE("adapt_inf: a cluster is sampled by the score that spreads it most evenly",
          "[selectors][adapt_inf][oracle]") {
  const double unit = GENERATE(1.0, 0.1);
  std::vector<double> even;
  for (int i = 1; i <= 8; ++i) {
    even.push_back(unit * i);
  }
  const RoundReport report =
      one_cluster({{Expert::nll, {1, 1, 1, 1, 1, 1, 1, 9}}, {Expert::el2n, even}}, 4);
  const ClusterReport& cluster = report.clusters[0];
  CHECK(cluster.expert == Expert::el2n);
  // Scores that no sample has are no candidates.
  REQUIRE(cluster.entropies.size() == 2);
  CHECK_THAT(cluster.entropies.at(Expert::nll), Catch::WithinAbs(0.543564, 1e-6));
  CHECK_THAT(cluster.entropies.at(Expert::el2n), Catch::WithinAbs(3.0, 1e-12));
  for (const Pick& pick : report.picks) {
    CHECK(pick.expert == Expert::el2n);
  }
}

TEST_CASE("adapt_inf: a score is chosen only where 95 % of the cluster has it",
          "[selectors][adapt_inf]") {
  const auto without = [](int missing, int64_t budget) {
    std::vector<double> even;
    for (int i = 0; i < 40; ++i) {
      even.push_back(i < missing ? std::nan("") : i);
    }
    std::vector<double> lopsided(40, 1.0);
    lopsided.back() = 9;
    return one_cluster({{Expert::nll, lopsided}, {Expert::dg_ctx, even}}, budget);
  };
  const auto unscored = [](const RoundReport& report) {
    return std::count_if(report.picks.begin(), report.picks.end(),
                         [](const Pick& pick) { return std::isnan(pick.score); });
  };
  // 38 of 40 are 95 %; the two others are drawn when these are used up.
  const RoundReport enough = without(2, 38);
  CHECK(enough.clusters[0].expert == Expert::dg_ctx);
  CHECK(enough.picks.size() == 38);
  CHECK(unscored(enough) == 0);
  CHECK(unscored(without(2, 39)) == 1);
  const RoundReport too_few = without(3, 38);
  CHECK(too_few.clusters[0].expert == Expert::nll);
  CHECK(too_few.clusters[0].entropies.count(Expert::dg_ctx) == 0);
  CHECK(unscored(too_few) == 0);
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
    embedded += std::ssize(texts);
    return rows;
  }

  mutable int64_t embedded = 0;
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

TEST_CASE("d4: near copies by words leave before anything is embedded, also after a restart",
          "[selectors]") {
  const auto embedder = std::make_shared<LetterEmbedder>();
  SelectorOptions options;
  options.embedder = embedder;
  options.clusters = 1;
  options.d4_kept = 1;
  std::vector<std::string> texts;
  Random random(3);
  for (int i = 0; i < 4; ++i) {
    texts.push_back(std::string(3000, static_cast<char>('a' + 2 * i)));
    for (std::size_t at = random.below(9); at < texts.back().size(); at += 2 + random.below(9)) {
      texts.back()[at] = ' ';
    }
  }
  std::string near = texts[1];
  near[1500] = near[1500] == ' ' ? 'x' : ' ';
  texts.insert(texts.end(), {near, texts[0], texts[2] + " aa bb"});
  const std::vector<Sample> pool = tests::samples_of(texts);
  const auto whole = tests::make_selector("d4", options);
  whole->observe(pool);
  CHECK(embedder->embedded == 4);
  whole->end_observing();
  const std::vector<Score> scores = whole->score(pool);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(scores[i].verdict == Verdict::rank);
  }
  CHECK(scores[4].verdict == Verdict::retire);
  CHECK_THAT(scores[4].reason, Catch::Contains("near copy of row 2 (similarity 0."));
  CHECK(scores[5].reason == "exact copy of row 1 (similarity 1.00)");
  CHECK_THAT(scores[6].reason, Catch::Contains("near copy of row 3"));

  const auto first = tests::make_selector("d4", options);
  first->observe(std::span(pool).first(3));
  const auto resumed = tests::make_selector("d4", options);
  resumed->restore(first->save());
  resumed->observe(std::span(pool).subspan(3));
  resumed->end_observing();
  const std::vector<Score> again = resumed->score(pool);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    CHECK(again[i].value == scores[i].value);
    CHECK(again[i].reason == scores[i].reason);
  }
}

}  // namespace
}  // namespace alluvium::selectors
