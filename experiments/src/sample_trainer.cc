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

// Contexts are empty and each sample's own: no attention between samples.
template <class Encoded>
struct Packed {
  Packed(const backbone::Decoder& decoder, const std::vector<const Encoded*>& batch) {
    contexts.reserve(batch.size());
    for (const Encoded* encoded : batch) {
      contexts.push_back(decoder.start({}, 0));
      sequences.push_back({&contexts.back(), encoded->tokens, encoded->scored_from});
    }
  }

  std::vector<backbone::KvCache> contexts;
  std::vector<backbone::ScoredSequence> sequences;
};

// Fixed batches; each sample's mean counts the same, as its selector's scores do.
template <class Encoded>
class BatchTask final : public learners::TrainingTask {
 public:
  BatchTask(const backbone::Decoder& decoder, std::vector<std::vector<const Encoded*>> batches)
      : decoder_(decoder), batches_(std::move(batches)) {}

  at::Tensor loss(const backbone::AdapterState& adapter, int64_t step, int64_t) override {
    const Packed packed(decoder_, batches_.at(static_cast<std::size_t>(step)));
    return decoder_.negative_log_likelihood(packed.sequences, adapter).mean();
  }

  // What is held out is measured after the run, by the caller.
  learners::Validation validate(const backbone::AdapterState&) override { return {}; }

 private:
  const backbone::Decoder& decoder_;
  std::vector<std::vector<const Encoded*>> batches_;
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

SampleTrainer::Encoded SampleTrainer::encode(const selectors::Sample& sample) const {
  const TokenId anchor = tokenizer_->find_token("<|endoftext|>").value_or(0);
  const auto most = static_cast<std::size_t>(options_.max_tokens);
  Encoded encoded;
  encoded.tokens = {anchor};
  const auto append = [&](const std::vector<TokenId>& tokens) {
    encoded.tokens.insert(encoded.tokens.end(), tokens.begin(), tokens.end());
  };
  if (sample.is_plain_text()) {
    append(tokenizer_->encode(sample.text));
    encoded.tokens.resize(std::min(encoded.tokens.size(), most));
    return encoded;
  }
  std::vector<TokenId> document = sample.document.empty()
                                      ? std::vector<TokenId>()
                                      : tokenizer_->encode(sample.document + "\n\n");
  const std::vector<TokenId> prompt = tokenizer_->encode(sample.prompt);
  const std::vector<TokenId> answer = tokenizer_->encode(sample.answer);
  const std::size_t fixed = 1 + prompt.size() + answer.size();
  const std::size_t room = most > fixed ? most - fixed : 0;
  if (document.size() > room) {
    document.erase(document.begin(), document.end() - static_cast<std::ptrdiff_t>(room));
  }
  append(document);
  append(prompt);
  encoded.scored_from = static_cast<int64_t>(encoded.tokens.size());
  append(answer);
  return encoded;
}

int64_t SampleTrainer::tokens(const selectors::Sample& sample) const {
  return static_cast<int64_t>(encode(sample).tokens.size());
}

TrainedOn SampleTrainer::train(const std::vector<selectors::Sample>& samples, int64_t budget_tokens,
                               uint64_t seed) {
  TrainedOn trained;
  std::vector<Encoded> chosen;
  for (const selectors::Sample& sample : samples) {
    if (budget_tokens > 0 && trained.tokens >= budget_tokens) {
      break;
    }
    Encoded encoded = encode(sample);
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
  std::vector<const Encoded*> order;
  for (const Encoded& encoded : chosen) {
    order.push_back(&encoded);
  }
  std::vector<std::vector<const Encoded*>> batches;
  for (int64_t epoch = 0; epoch < options_.epochs; ++epoch) {
    random.shuffle(order);
    int64_t filled = options_.batch_tokens;
    for (const Encoded* encoded : order) {
      if (filled >= options_.batch_tokens) {
        batches.emplace_back();
        filled = 0;
      }
      batches.back().push_back(encoded);
      filled += static_cast<int64_t>(encoded->tokens.size());
    }
  }
  trained.steps = std::ssize(batches);
  BatchTask<Encoded> task(*decoder_, std::move(batches));
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
    std::vector<Encoded> encoded;
    for (std::size_t i = begin; i < std::min(samples.size(), begin + kMeasured); ++i) {
      encoded.push_back(encode(samples[i]));
    }
    std::vector<const Encoded*> batch;
    std::vector<int64_t> targets;
    for (const Encoded& one : encoded) {
      batch.push_back(&one);
      targets.insert(targets.end(), one.tokens.begin() + one.scored_from, one.tokens.end());
    }
    const Packed packed(*decoder_, batch);
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
