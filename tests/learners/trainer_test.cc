#include "alluvium/learners/trainer.h"

#include <filesystem>
#include <fstream>
#include <limits>

#include <ATen/ATen.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "tiny_learner.h"

namespace alluvium::learners {
namespace {

// Makes one of eight fixed sequences likelier, another one each step.
class SequenceTask : public TrainingTask {
 public:
  explicit SequenceTask(const backbone::Decoder& decoder)
      : decoder_(decoder), context_(decoder.start({}, 0)) {
    Random random(5);
    for (auto& tokens : sequences_) {
      for (int i = 0; i < 6; ++i) {
        tokens.push_back(
            static_cast<backbone::TokenId>(random.below(tests::TinyLlama::kVocabulary)));
      }
    }
  }

  at::Tensor loss(const backbone::AdapterState& adapter, int64_t step, int64_t part) override {
    return nll(adapter, static_cast<std::size_t>(step * 2 + part) % sequences_.size());
  }

  Validation validate(const backbone::AdapterState& adapter) override {
    double loss = 0;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      loss += nll(adapter, i).item<double>() / static_cast<double>(sequences_.size());
    }
    return {.loss = loss, .metrics = {{"probability", 100 * std::exp(-loss)}}};
  }

 private:
  at::Tensor nll(const backbone::AdapterState& adapter, std::size_t i) const {
    const backbone::ScoredSequence sequence{&context_, sequences_[i], 2};
    return decoder_.negative_log_likelihood({&sequence, 1}, adapter).mean();
  }

  const backbone::Decoder& decoder_;
  backbone::KvCache context_;
  std::array<std::vector<backbone::TokenId>, 8> sequences_;
};

TrainerOptions options_of(int64_t steps, const std::string& directory = "") {
  TrainerOptions options;
  options.rate = {.highest = 2e-2, .warm_up_steps = 2, .steps = steps, .decay = Decay::cosine};
  options.parts = 2;
  options.validate_every = 4;
  options.checkpoint_every = 3;
  options.directory = directory;
  return options;
}

}  // namespace

TEST_CASE("train: the loss falls, and the best factors are those of the lowest validation loss",
          "[learners][trainer]") {
  const tests::TinyDecoder tiny;
  SequenceTask task(*tiny.decoder);
  Lora lora(*tiny.decoder, tests::small_lora());
  const double before = task.validate(lora.state()).loss;
  TrainerOptions options = options_of(40);
  options.optimiser = GENERATE(OptimiserKind::adam_w, OptimiserKind::apollo);
  std::vector<TrainingPoint> points;
  const TrainingOutcome outcome =
      train(lora, task, options, [&](const TrainingPoint& p) { points.push_back(p); });
  CHECK(outcome.end == TrainingEnd::finished);
  CHECK(outcome.steps == 40);
  REQUIRE(points.size() == 40);
  CHECK(points.front().learning_rate < points[2].learning_rate);
  CHECK(outcome.best_loss < 0.7 * before);
  CHECK_THAT(task.validate(outcome.best).loss, Catch::WithinAbs(outcome.best_loss, 1e-6));
}

TEST_CASE("train: interrupted and resumed gives the bytes of the uninterrupted run",
          "[learners][trainer][property]") {
  const auto optimiser = GENERATE(OptimiserKind::adam_w, OptimiserKind::apollo);
  const tests::TinyDecoder tiny;
  SequenceTask task(*tiny.decoder);
  Lora whole(*tiny.decoder, tests::small_lora());
  TrainerOptions uncut = options_of(12);
  uncut.optimiser = optimiser;
  const TrainingOutcome expected = train(whole, task, uncut);

  const int64_t cut = GENERATE(1, 5, 8);
  CAPTURE(cut);
  const tests::TemporaryDirectory directory;
  std::atomic<bool> stop{false};
  TrainerOptions options = options_of(12, directory.path());
  options.optimiser = optimiser;
  options.stop = &stop;
  Lora first(*tiny.decoder, tests::small_lora());
  const TrainingOutcome interrupted =
      train(first, task, options, [&](const TrainingPoint& p) { stop = p.step == cut; });
  CHECK(interrupted.end == TrainingEnd::interrupted);
  CHECK(interrupted.steps == cut);

  stop = false;
  Lora second(*tiny.decoder, tests::small_lora(99));  // the checkpoint decides, not the start
  const TrainingOutcome resumed = train(second, task, options);
  CHECK(resumed.end == TrainingEnd::finished);
  CHECK(at::equal(second.parameters(), whole.parameters()));
  CHECK(resumed.best_step == expected.best_step);
  CHECK(resumed.best_loss == expected.best_loss);
  const auto& a = resumed.best.layers[1][backbone::Projection::down];
  const auto& b = expected.best.layers[1][backbone::Projection::down];
  CHECK(at::equal(a.b, b.b));
}

TEST_CASE("train: the curve on the disk has one line a step, also after a resume",
          "[learners][trainer]") {
  const tests::TinyDecoder tiny;
  SequenceTask task(*tiny.decoder);
  const tests::TemporaryDirectory directory;
  std::atomic<bool> stop{false};
  TrainerOptions options = options_of(9, directory.path());
  options.stop = &stop;
  Lora lora(*tiny.decoder, tests::small_lora());
  train(lora, task, options, [&](const TrainingPoint& p) { stop = p.step == 4; });
  stop = false;
  train(lora, task, options);
  std::ifstream file(directory / "curve.csv");
  std::string line;
  std::getline(file, line);
  CHECK(line.rfind("step,seconds,loss", 0) == 0);
  for (int64_t step = 1; step <= 9; ++step) {
    REQUIRE(std::getline(file, line));
    CHECK(line.rfind(std::to_string(step) + ",", 0) == 0);
    CHECK((line.find("probability=") != std::string::npos) == (step % 4 == 0 || step == 9));
  }
  CHECK_FALSE(std::getline(file, line));
  CHECK(std::filesystem::exists(directory / "curve.svg"));
}

TEST_CASE("train: a loss that is not a number ends the run before it touches the factors",
          "[learners][trainer]") {
  class Diverging final : public SequenceTask {
   public:
    using SequenceTask::SequenceTask;
    at::Tensor loss(const backbone::AdapterState& adapter, int64_t step, int64_t part) override {
      const at::Tensor loss = SequenceTask::loss(adapter, step, part);
      return step == 5 ? loss * std::numeric_limits<double>::quiet_NaN() : loss;
    }
  };
  const tests::TinyDecoder tiny;
  SequenceTask healthy(*tiny.decoder);
  Lora expected(*tiny.decoder, tests::small_lora());
  std::atomic<bool> stop{false};
  TrainerOptions options = options_of(12);
  options.stop = &stop;
  train(expected, healthy, options, [&](const TrainingPoint& p) { stop = p.step == 5; });

  stop = false;
  Diverging task(*tiny.decoder);
  Lora lora(*tiny.decoder, tests::small_lora());
  const TrainingOutcome outcome = train(lora, task, options);
  CHECK(outcome.end == TrainingEnd::diverged);
  CHECK(outcome.steps == 5);
  CHECK(outcome.best_step == 4);
  CHECK(at::equal(lora.parameters(), expected.parameters()));
}

TEST_CASE("train: validations that do not improve end the run", "[learners][trainer]") {
  class Worsening final : public SequenceTask {
   public:
    using SequenceTask::SequenceTask;
    Validation validate(const backbone::AdapterState&) override {
      return {.loss = static_cast<double>(++asked_), .metrics = {}};
    }

   private:
    int asked_ = 0;
  };
  const tests::TinyDecoder tiny;
  Worsening task(*tiny.decoder);
  Lora lora(*tiny.decoder, tests::small_lora());
  TrainerOptions options = options_of(100);
  options.validate_every = 2;
  options.patience = 3;
  const TrainingOutcome outcome = train(lora, task, options);
  CHECK(outcome.end == TrainingEnd::stopped_early);
  CHECK(outcome.steps == 8);
  CHECK(outcome.best_step == 2);
}

TEST_CASE("train: a checkpoint of other sizes is refused", "[learners][trainer]") {
  const tests::TinyDecoder tiny;
  SequenceTask task(*tiny.decoder);
  const tests::TemporaryDirectory directory;
  Lora lora(*tiny.decoder, tests::small_lora());
  train(lora, task, options_of(3, directory.path()));
  LoraOptions wider = tests::small_lora();
  wider.rank = 3;
  Lora other(*tiny.decoder, wider);
  CHECK_THROWS_WITH(train(other, task, options_of(3, directory.path())),
                    Catch::Contains("does not belong to this run"));
}

TEST_CASE("train: a checkpoint of a run with other options is refused", "[learners][trainer]") {
  const tests::TinyDecoder tiny;
  SequenceTask task(*tiny.decoder);
  const tests::TemporaryDirectory directory;
  Lora lora(*tiny.decoder, tests::small_lora());
  TrainerOptions options = options_of(3, directory.path());
  options.identity = "one";
  train(lora, task, options);
  CHECK_NOTHROW(train(lora, task, options));
  options.identity = "another";
  CHECK_THROWS_WITH(train(lora, task, options), Catch::Contains("other options"));
}

TEST_CASE("train: options outside their bounds are refused", "[learners][trainer]") {
  const tests::TinyDecoder tiny;
  SequenceTask task(*tiny.decoder);
  Lora lora(*tiny.decoder, tests::small_lora());
  TrainerOptions options = options_of(3);
  SECTION("steps") { options.rate.steps = 0; }
  SECTION("rate") { options.rate.highest = 0; }
  SECTION("parts") { options.parts = 0; }
  SECTION("clip") { options.clip_norm = 0; }
  CHECK_THROWS_AS(train(lora, task, options), InvalidArgument);
}

}  // namespace alluvium::learners
