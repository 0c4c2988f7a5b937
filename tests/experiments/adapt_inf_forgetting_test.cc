// What Adapt-inf's choice does to a model that learns from it: real gradients, real training, a tiny decoder.
#include <cmath>
#include <functional>
#include <map>

#include "alluvium/core/random.h"
#include "alluvium/selectors/adapt_inf.h"
#include "alluvium/selectors/decoder_gradient_scorer.h"
#include "sample_trainer.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/tiny_decoder.h"

namespace alluvium::experiments {
namespace {

using selectors::Sample;

constexpr uint64_t kSeeds = 5;

/// Words over an alphabet of the task's own, and what follows from each: its letters in reverse.
std::vector<Sample> task(const std::string& alphabet, int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<Sample> samples;
  for (int64_t i = 0; i < count; ++i) {
    std::string word;
    for (int l = 0; l < 4; ++l) {
      word += alphabet[random.below(alphabet.size())];
    }
    Sample sample;
    sample.id = alphabet + ":" + std::to_string(seed) + ":" + std::to_string(i);
    sample.prompt = word + "=";
    sample.answer = std::string(word.rbegin(), word.rend());
    sample.text = sample.prompt + sample.answer;
    samples.push_back(std::move(sample));
  }
  return samples;
}

/// Chooses what to train on of everything that has arrived.
using Choose = std::function<std::vector<Sample>(const std::vector<Sample>& arrived, int64_t budget,
                                                 const SampleTrainer& trainer)>;

Choose newest_only() {
  return [](const std::vector<Sample>& arrived, int64_t, const SampleTrainer&) { return arrived; };
}

Choose random_of_all(uint64_t seed) {
  return [random = Random(seed), pool = std::vector<Sample>()](
             const std::vector<Sample>& arrived, int64_t budget, const SampleTrainer&) mutable {
    pool.insert(pool.end(), arrived.begin(), arrived.end());
    std::vector<Sample> chosen = pool;
    random.shuffle(chosen);
    chosen.resize(std::min(chosen.size(), static_cast<std::size_t>(budget)));
    return chosen;
  };
}

struct Tiny : tests::TinyDecoder {
  SampleTrainer trainer(uint64_t seed) const {
    return {decoder,
            tokenizer,
            {.rank = 4, .learning_rate = 2e-2, .epochs = 4, .batch_tokens = 120},
            seed};
  }

  /// Rounds of Adapt-inf with the gradients of the model as it is at each of them.
  Choose adapt_inf(int64_t clusters, uint64_t seed) const {
    struct State {
      std::unique_ptr<selectors::GradientScorer> scorer;
      std::unique_ptr<selectors::AdaptInf> rounds;
    };
    return [this, clusters, seed, state = std::make_shared<State>()](
               const std::vector<Sample>& arrived, int64_t budget, const SampleTrainer& trainer) {
      auto scorer = selectors::make_decoder_gradient_scorer(decoder, tokenizer, {.seed = seed},
                                                            &trainer.adapter());
      if (state->rounds == nullptr) {
        state->rounds = std::make_unique<selectors::AdaptInf>(
            selectors::AdaptInfOptions{.clusters = clusters, .seed = seed}, *scorer, nullptr);
      }
      state->rounds->set_scorer(*scorer);
      state->scorer = std::move(scorer);
      state->rounds->add(arrived);
      state->rounds->begin_round();
      while (state->rounds->score_next(256) > 0) {
      }
      std::vector<Sample> chosen;
      for (const selectors::Pick& pick : state->rounds->finish_round(budget).picks) {
        chosen.push_back(*state->rounds->find(pick.id));
      }
      return chosen;
    };
  }

  /// The loss on `held_out` after each step, the adapter trained on what is chosen.
  std::vector<double> run(const Choose& choose, const std::vector<std::vector<Sample>>& steps,
                          int64_t budget, const std::vector<Sample>& held_out,
                          uint64_t seed) const {
    SampleTrainer learner = trainer(seed);
    std::vector<double> losses;
    for (std::size_t step = 0; step < steps.size(); ++step) {
      learner.train(choose(steps[step], budget, learner), 0, seed * 10 + step);
      losses.push_back(learner.measure(held_out).nll);
    }
    return losses;
  }
};

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  return sum / static_cast<double>(values.size());
}

double standard_error(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  const auto count = static_cast<double>(values.size());
  return std::sqrt(squares / (count - 1) / count);
}

}  // namespace

TEST_CASE("adapt_inf: a stream A, B, A' is forgotten less than by training on what is new",
          "[experiments][adapt_inf][stream]") {
  const Tiny tiny;
  const std::vector<Sample> held_out = task("abcd", 30, 99);
  std::vector<double> ahead_of_random;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    CAPTURE(seed);
    const std::vector<std::vector<Sample>> steps = {task("abcd", 60, seed), task("wxyz", 60, seed),
                                                    task("abcde", 60, seed + 50)};
    const auto sequential = tiny.run(newest_only(), steps, 60, held_out, seed);
    const auto replay = tiny.run(random_of_all(seed), steps, 60, held_out, seed);
    const auto chosen = tiny.run(tiny.adapt_inf(2, seed), steps, 60, held_out, seed);
    CHECK(chosen[1] < sequential[1]);
    ahead_of_random.push_back(replay[1] - chosen[1]);
    UNSCOPED_INFO(sequential[1] << " " << replay[1] << " " << chosen[1]);
  }
  // Not worse than random replay of equal budget, up to what the seeds scatter.
  CHECK(mean_of(ahead_of_random) > -2 * standard_error(ahead_of_random));
}

TEST_CASE("adapt_inf: a rare skill is forgotten less than with random replay",
          "[experiments][adapt_inf][stream]") {
  const Tiny tiny;
  const std::vector<Sample> held_out = task("0123", 30, 99);
  std::vector<double> spared;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    std::vector<Sample> others;
    for (const auto& [alphabet, size] : {std::pair("abcd", 400), {"wxyz", 100}, {"MNOP", 40}}) {
      const std::vector<Sample> more = task(alphabet, size, seed);
      others.insert(others.end(), more.begin(), more.end());
    }
    const std::vector<std::vector<Sample>> steps = {task("0123", 20, seed), others};
    const auto replay = tiny.run(random_of_all(seed), steps, 80, held_out, seed);
    const auto chosen = tiny.run(tiny.adapt_inf(4, seed), steps, 80, held_out, seed);
    spared.push_back((replay[1] - replay[0]) - (chosen[1] - chosen[0]));
    UNSCOPED_INFO(replay[0] << " -> " << replay[1] << ", " << chosen[0] << " -> " << chosen[1]);
  }
  CHECK(mean_of(spared) > 2 * standard_error(spared));
}

}  // namespace alluvium::experiments
