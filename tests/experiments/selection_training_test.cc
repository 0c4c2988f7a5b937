// Training on picks: exact token budgets, and tables worked out by hand.
#include "selection_training.h"

#include <cmath>
#include <set>

#include "alluvium/core/error.h"
#include "line_chart.h"
#include "sample_trainer.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/tiny_decoder.h"
#include "text_tasks.h"

namespace alluvium::experiments {
namespace {

using Catch::Matchers::WithinAbs;

struct Tiny : tests::TinyDecoder {
  SampleTrainer trainer(uint64_t seed = 1) const {
    return {decoder,
            tokenizer,
            {.rank = 2, .learning_rate = 2e-2, .epochs = 8, .batch_tokens = 40},
            seed};
  }
};

std::vector<selectors::Sample> some_samples() {
  std::vector<selectors::Sample> samples;
  for (int i = 0; i < 6; ++i) {
    selectors::Sample sample;
    sample.id = std::to_string(i);
    sample.prompt = "what is number " + std::to_string(i) + "? ";
    sample.answer = i % 2 == 0 ? "even" : "odd";
    sample.text = sample.prompt + sample.answer;
    samples.push_back(sample);
  }
  return samples;
}

TEST_CASE("sample trainer: reads exactly the budget, and learns what it reads",
          "[experiments][selection_training]") {
  const Tiny tiny;
  SampleTrainer trainer = tiny.trainer();
  const std::vector<selectors::Sample> samples = some_samples();
  const double before = trainer.measure(samples).nll;
  int64_t all = 0;
  for (const selectors::Sample& sample : samples) {
    all += trainer.tokens(sample);
  }
  CHECK(trainer.train(samples, 50, 0).tokens == 50);
  const TrainedOn whole = trainer.train(samples, 0, 0);
  CHECK(whole.tokens == all);
  CHECK(whole.samples == 6);
  CHECK(trainer.train(samples, 10 * all, 0).tokens == all);
  CHECK(trainer.measure(samples).nll < before - 0.1);
  CHECK(trainer.train({}, 0, 0).steps == 0);
  // The same seeds give the same adapter, to the bit.
  SampleTrainer first = tiny.trainer(3);
  SampleTrainer second = tiny.trainer(3);
  first.train(samples, 60, 5);
  second.train(samples, 60, 5);
  CHECK(first.measure(samples).nll == second.measure(samples).nll);
}

Row step_of(const std::string& arm, double share, uint64_t seed, int step, double a, double b) {
  return {{"arm", arm},         {"share", share},
          {"seed", seed},       {"step", step},
          {"trained", 1},       {"tokens", 10},
          {"pool", 2},          {"selection_s", 1.0},
          {"training_s", 2.0},  {"nll_a", -std::log(a / 100)},
          {"accuracy_a", 0.0},  {"nll_b", -std::log(b / 100)},
          {"accuracy_b", 100.0}};
}

TEST_CASE("sequence table: gain against the best of sequential, forgetting from the best earlier",
          "[experiments][selection_training]") {
  const std::vector<Row> table = summarise_sequence({
      step_of("sequential", 100, 0, 1, 50, 10),
      step_of("sequential", 100, 0, 2, 20, 40),
      step_of("random", 10, 0, 1, 40, 10),
      step_of("random", 10, 0, 2, 30, 20),
  });
  REQUIRE(table.size() == 2);
  const Row& random = table[0];
  CHECK(random.at("arm") == "random");
  // a: 30 of 50, b: 20 of 40.
  CHECK_THAT(random.at("relative_gain").get<double>(), WithinAbs((60.0 + 50.0) / 2, 1e-9));
  // a fell from 40 to 30; b came last and has no later step.
  CHECK_THAT(random.at("forgetting").get<double>(), WithinAbs(25.0, 1e-9));
  CHECK_THAT(random.at("likelihood_score").get<double>(), WithinAbs(25.0, 1e-9));
  CHECK_THAT(random.at("accuracy").get<double>(), WithinAbs(50.0, 1e-9));
  CHECK_THAT(table[1].at("forgetting").get<double>(), WithinAbs(60.0, 1e-9));
  CHECK_THAT(random.at("selection_s").get<double>(), WithinAbs(2.0, 1e-9));
}

TEST_CASE("target table: differences are paired by seed, with Student's interval",
          "[experiments][selection_training]") {
  std::vector<Row> rows;
  const std::vector<double> ours = {2.0, 2.1, 2.3};
  const std::vector<double> baseline = {2.2, 2.2, 2.6};
  for (uint64_t seed = 0; seed < 3; ++seed) {
    for (const char* selector : {"zip_fit", "length_matched_random"}) {
      const double nll = (std::string(selector) == "zip_fit" ? ours : baseline)[seed];
      rows.push_back({{"target", "t"},
                      {"selector", selector},
                      {"seed", seed},
                      {"budget_tokens", 100},
                      {"picks", 5},
                      {"tokens", 100},
                      {"in_domain", 0.5},
                      {"nll", nll},
                      {"selection_s", 1.0},
                      {"training_s", 1.0}});
    }
  }
  const std::vector<Row> table = summarise_target(rows);
  REQUIRE(table.size() == 2);
  const Row& row = table[1];
  CHECK(row.at("selector") == "zip_fit");
  CHECK_THAT(row.at("below_length_matched").get<double>(), WithinAbs(0.2, 1e-9));
  // deviation 0.1 of three: 4.303 * 0.1 / sqrt 3
  CHECK_THAT(row.at("interval_95").get<double>(), WithinAbs(0.24843, 1e-4));
}

TEST_CASE("line chart: one curve a series, also of a single point",
          "[experiments][selection_training]") {
  const std::string svg = plot_lines(
      "title", "x", "y", {{"one", {{1, 2, 1, 3}, {2, 4, 3, 5}}}, {"two", {{1, 1, 1, 1}}}});
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("two</text>") != std::string::npos);
  CHECK(plot_lines("t", "x", "y", {}).find("nan") == std::string::npos);
}

TEST_CASE("text tasks: five, held-out rows are not trained on, the same by the same seed",
          "[experiments][selection_training]") {
  const auto data = tests::data_directory();
  if (!data) {
    WARN("skipped: the evaluation data is not there");
    return;
  }
  const std::vector<TextTask> tasks = load_text_tasks(*data, 20, 10, 400, 1);
  REQUIRE(tasks.size() == 5);
  std::set<std::string> ids;
  for (const TextTask& task : tasks) {
    CHECK(task.training.size() == 20);
    CHECK(task.held_out.size() == 10);
    for (const auto* part : {&task.training, &task.held_out}) {
      for (const selectors::Sample& sample : *part) {
        CHECK(ids.insert(sample.id).second);
        CHECK(sample.answer.size() > 1);
      }
    }
  }
  CHECK(tasks[0].training[0].id == load_text_tasks(*data, 20, 10, 400, 1)[0].training[0].id);
  CHECK_THROWS_AS(load_text_tasks(*data, 1'000'000, 1, 400, 1), InvalidArgument);
}

}  // namespace
}  // namespace alluvium::experiments
