// A low-rank adapter on the frozen decoder, trained on given samples and measured on held-out ones.
//
// Source : LoRA (Hu et al., 2022); the loss covers the answer's tokens, of plain text all but the first.
// Threads: owned by the thread that trains.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alluvium/backbone/decoder.h"
#include "alluvium/learners/lora.h"
#include "alluvium/selectors/selector.h"

namespace alluvium::experiments {

struct SampleTrainerOptions {
  int64_t rank = 8;
  double learning_rate = 5e-4;  ///< falls linearly to 0 within one train()
  int64_t epochs = 1;
  int64_t batch_tokens = 256;  ///< of a step, about
  int64_t max_tokens = 256;    ///< of a sample; documents and plain texts are cut
};

struct TrainedOn {
  int64_t samples = 0;
  int64_t tokens = 0;  ///< read, in one epoch
  int64_t steps = 0;
  double seconds = 0;
};

struct HeldOut {
  double nll = 0;  ///< mean over samples of the mean -ln p of their scored tokens
  double accuracy =
      0;  ///< percent of the samples whose every scored token is the likeliest: greedy decoding gives the answer
};

class SampleTrainer {
 public:
  /// A fresh adapter; B = 0, so it begins as the bare decoder.
  SampleTrainer(std::shared_ptr<const backbone::Decoder> decoder,
                std::shared_ptr<const backbone::Tokenizer> tokenizer,
                const SampleTrainerOptions& options, uint64_t seed);

  /// Tokens a sample takes, after cutting.
  int64_t tokens(const selectors::Sample& sample) const;

  /// Goes on from the present factors, samples in the order given by the seed. With budget_tokens > 0 the samples are taken in order and
  /// the last one is cut, so that exactly that many tokens are read an epoch, or all there are. Samples without an answer are left out.
  TrainedOn train(const std::vector<selectors::Sample>& samples, int64_t budget_tokens,
                  uint64_t seed);

  HeldOut measure(const std::vector<selectors::Sample>& samples) const;

  const backbone::AdapterState& adapter() const { return lora_.state(); }

 private:
  std::shared_ptr<const backbone::Decoder> decoder_;
  std::shared_ptr<const backbone::Tokenizer> tokenizer_;
  SampleTrainerOptions options_;
  learners::Lora lora_;
};

}  // namespace alluvium::experiments
