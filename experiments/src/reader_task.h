// What a reader learns: the answers to questions over memories made by the bare decoder.
//
// Source : docs/adr/0006: the loss covers answer tokens only, and no gradient enters a document.
// Threads: owned by the thread that trains.
#pragma once

#include <cstdint>
#include <vector>

#include "alluvium/backbone/generation.h"
#include "alluvium/learners/trainer.h"
#include "confidence_fit.h"
#include "reader_contexts.h"
#include "reader_examples.h"

namespace alluvium::experiments {

struct ReaderTaskOptions {
  int64_t batches = 1;  ///< micro-batches of the whole run
  int64_t parts = 1;    ///< micro-batches a step, as TrainerOptions::parts
  double dropout = 0;   ///< of the rows that enter the adapter
  uint64_t seed = 0;    ///< of dropout
  int64_t max_answer_tokens = 32;
};

class ReaderTask final : public learners::TrainingTask {
 public:
  /// Referenced objects must outlive the task; `validation` is asked once each over its gold document, by the first codec.
  ReaderTask(const service::Models& models, const service::TemplateConfiguration& prompt,
             const ReaderContexts& contexts, const ReaderExamples& training,
             const ReaderExamples& validation, const ReaderTaskOptions& options);

  /// Mean negative log-likelihood of the answer tokens.
  at::Tensor loss(const backbone::AdapterState& adapter, int64_t step, int64_t part) override;

  /// Loss as above over the validation questions, and metrics f1 and em (percent) of greedy answers.
  learners::Validation validate(const backbone::AdapterState& adapter) override;

  /// Asks every validation question over its document and, withheld, over the one BM25 would bring instead; right means a token F1 of
  /// one half at least.
  ConfidenceFit calibrate(const backbone::AdapterState& adapter) const;

 private:
  struct Asked {
    const ReaderQuestion* question;
    bool answerable;
    backbone::Generation answer;
    double evidence;  // log-odds against a refusal
  };

  /// Greedy answers to every question of the readings, answerable ones first in each.
  std::vector<Asked> answer(const backbone::AdapterState& adapter,
                            const std::vector<Reading>& readings,
                            std::vector<backbone::KvCache>& contexts) const;
  int64_t room(const std::vector<Reading>& readings) const;

  at::Tensor batch_loss(const backbone::AdapterState& adapter, const std::vector<Reading>& readings,
                        const ReaderExamples& examples,
                        const std::vector<backbone::KvCache>& contexts,
                        const backbone::AdapterDropout& dropout) const;

  const service::Models& models_;
  const service::TemplateConfiguration& prompt_;
  const ReaderContexts& contexts_;
  const ReaderExamples& training_;
  const ReaderExamples& validation_;
  const ReaderTaskOptions options_;
  const std::vector<std::vector<Reading>> schedule_;
};

}  // namespace alluvium::experiments
