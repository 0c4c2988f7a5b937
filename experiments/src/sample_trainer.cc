#include "sample_trainer.h"

#include <algorithm>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/learners/trainer.h"
#include "encoded_sample.h"

namespace alluvium::experiments {
namespace {

using backbone::TokenId;

constexpr std::size_t kMeasured = 8;  // samples of one forward pass

learners::LoraOptions lora_options(const SampleTrainerOptions& options, uint64_t seed) {
  learners::LoraOptions lora;
  lora.rank = options.rank;
  lora.alpha = 2 * static_cast<double>(options.rank);
  lora.seed = seed;
  return lora;
}

// Fixed batches; each sample's mean counts the same, as its selector's scores do.
class BatchTask final : public learners::TrainingTask {
 public:
  BatchTask(const backbone::Decoder& decoder,
            std::vector<std::vector<const EncodedSample*>> batches)
      : decoder_(decoder), batches_(std::move(batches)) {}

  at::Tensor loss(const backbone::AdapterState& adapter, int64_t step, int64_t) override {
    const PackedSamples packed(decoder_, batches_.at(static_cast<std::size_t>(step)));
    return decoder_.negative_log_likelihood(packed.sequences, adapter).mean();
  }

  // What is held out is measured after the run, by the caller.
  learners::Validation validate(const backbone::AdapterState&) override { return {}; }

 private:
  const backbone::Decoder& decoder_;
  std::vector<std::vector<const EncodedSample*>> batches_;
};

}  // namespace

SampleTrainer::SampleTrainer(std::shared_ptr<const backbone::Decoder> decoder,
                             std::shared_ptr<const backbone::Tokenizer> tokenizer,
                             const SampleTrainerOptions& options, uint64_t seed)
    : decoder_(std::move(decoder)),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      lora_(*decoder_, lora_options(options, seed)) {
  ALLUVIUM_CHECK(options.epochs >= 1, "epochs must be at least 1, got {}", options.epochs);
  ALLUVIUM_CHECK(options.batch_tokens >= 1, "batch_tokens must be at least 1, got {}",
                 options.batch_tokens);
  ALLUVIUM_CHECK(options.max_tokens >= 16, "max_tokens must be at least 16, got {}",
                 options.max_tokens);
}

int64_t SampleTrainer::tokens(const selectors::Sample& sample) const {
  return static_cast<int64_t>(
      encode_sample(*tokenizer_, sample, options_.max_tokens).tokens.size());
}

TrainedOn SampleTrainer::train(const std::vector<selectors::Sample>& samples, int64_t budget_tokens,
                               uint64_t seed) {
  TrainedOn trained;
  std::vector<EncodedSample> chosen;
  for (const selectors::Sample& sample : samples) {
    if (budget_tokens > 0 && trained.tokens >= budget_tokens) {
      break;
    }
    EncodedSample encoded = encode_sample(*tokenizer_, sample, options_.max_tokens);
    if (budget_tokens > 0) {
      encoded.tokens.resize(std::min(encoded.tokens.size(),
                                     static_cast<std::size_t>(budget_tokens - trained.tokens)));
    }
    trained.tokens += static_cast<int64_t>(encoded.tokens.size());
    if (static_cast<int64_t>(encoded.tokens.size()) > encoded.scored_from) {
      chosen.push_back(std::move(encoded));
    }
  }
  trained.samples = std::ssize(chosen);
  if (chosen.empty()) {
    return trained;
  }
  Random random(seed);
  std::vector<const EncodedSample*> order;
  for (const EncodedSample& encoded : chosen) {
    order.push_back(&encoded);
  }
  std::vector<std::vector<const EncodedSample*>> batches;
  for (int64_t epoch = 0; epoch < options_.epochs; ++epoch) {
    random.shuffle(order);
    int64_t filled = options_.batch_tokens;
    for (const EncodedSample* encoded : order) {
      if (filled >= options_.batch_tokens) {
        batches.emplace_back();
        filled = 0;
      }
      batches.back().push_back(encoded);
      filled += static_cast<int64_t>(encoded->tokens.size());
    }
  }
  trained.steps = std::ssize(batches);
  BatchTask task(*decoder_, std::move(batches));
  learners::TrainerOptions trainer;
  trainer.rate.highest = options_.learning_rate;
  trainer.rate.steps = trained.steps;
  trainer.validate_every = 0;
  trainer.checkpoint_every = 0;
  const Stopwatch watch;
  const learners::TrainingOutcome outcome = learners::train(lora_, task, trainer);
  trained.seconds = watch.elapsed_ms() / 1e3;
  if (outcome.end == learners::TrainingEnd::diverged) {
    throw NumericError("training diverged: use a lower learning rate");
  }
  return trained;
}

HeldOut SampleTrainer::measure(const std::vector<selectors::Sample>& samples) const {
  const at::NoGradGuard no_gradient;
  HeldOut held_out;
  for (std::size_t begin = 0; begin < samples.size(); begin += kMeasured) {
    std::vector<EncodedSample> encoded;
    for (std::size_t i = begin; i < std::min(samples.size(), begin + kMeasured); ++i) {
      encoded.push_back(encode_sample(*tokenizer_, samples[i], options_.max_tokens));
    }
    std::vector<const EncodedSample*> batch;
    std::vector<int64_t> targets;
    for (const EncodedSample& one : encoded) {
      batch.push_back(&one);
      targets.insert(targets.end(), one.tokens.begin() + one.scored_from, one.tokens.end());
    }
    const PackedSamples packed(*decoder_, batch);
    backbone::ScoredTrace trace;
    const at::Tensor nll =
        decoder_->negative_log_likelihood(packed.sequences, lora_.state(), {}, &trace);
    const at::Tensor right =
        trace.logits.argmax(1).eq(at::tensor(targets, at::kLong).to(trace.logits.device()));
    for (std::size_t b = 0; b < batch.size(); ++b) {
      const int64_t first = trace.first_score[b];
      const int64_t count = trace.first_score[b + 1] - first;
      held_out.nll += nll.narrow(0, first, count).mean().item<double>();
      held_out.accuracy += right.narrow(0, first, count).all().item<bool>() ? 100 : 0;
    }
  }
  const auto n = static_cast<double>(std::max<std::size_t>(1, samples.size()));
  return {held_out.nll / n, held_out.accuracy / n};
}

}  // namespace alluvium::experiments
