#include "reader_task.h"

#include <algorithm>

#include <ATen/core/grad_mode.h>

#include "alluvium/experiments/qa_metrics.h"
#include "alluvium/service/prompt.h"
#include "alluvium/service/readers.h"
#include "alluvium/service/refusal.h"

namespace alluvium::experiments {

ReaderTask::ReaderTask(const service::Models& models, const service::TemplateConfiguration& prompt,
                       const ReaderContexts& contexts, const ReaderExamples& training,
                       const ReaderExamples& validation, const ReaderTaskOptions& options)
    : models_(models),
      prompt_(prompt),
      contexts_(contexts),
      training_(training),
      validation_(validation),
      options_(options),
      schedule_(training.schedule(options.batches)) {}

at::Tensor ReaderTask::batch_loss(const backbone::AdapterState& adapter,
                                  const std::vector<Reading>& readings,
                                  const ReaderExamples& examples,
                                  const std::vector<backbone::KvCache>& contexts,
                                  const backbone::AdapterDropout& dropout) const {
  std::vector<std::vector<backbone::TokenId>> tokens;
  std::vector<backbone::ScoredSequence> sequences;
  for (std::size_t i = 0; i < readings.size(); ++i) {
    const auto ask = [&](const ReaderQuestion& asked,
                         const std::vector<backbone::TokenId>& answer) {
      tokens.push_back(asked.question);
      tokens.back().insert(tokens.back().end(), answer.begin(), answer.end());
      sequences.push_back({.context = &contexts[i],
                           .tokens = {},
                           .scored_from = static_cast<int64_t>(asked.question.size())});
    };
    for (const std::size_t q : readings[i].questions) {
      ask(examples.questions()[q], examples.questions()[q].answer);
    }
    for (const std::size_t q : readings[i].unanswerable) {
      ask(examples.questions()[q], examples.refusal());
    }
  }
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].tokens = tokens[i];
  }
  return models_.decoder->negative_log_likelihood(sequences, adapter, dropout).mean();
}

at::Tensor ReaderTask::loss(const backbone::AdapterState& adapter, int64_t step, int64_t part) {
  const auto batch = static_cast<std::size_t>(step * options_.parts + part);
  const std::vector<Reading>& readings = schedule_.at(batch);
  const std::vector<backbone::KvCache> contexts =
      contexts_.make(readings, training_.documents(), 0);
  return batch_loss(adapter, readings, training_, contexts,
                    {.probability = options_.dropout, .seed = options_.seed + batch});
}

int64_t ReaderTask::room(const std::vector<Reading>& readings) const {
  std::size_t longest = 0;
  for (const Reading& reading : readings) {
    for (const auto* questions : {&reading.questions, &reading.unanswerable}) {
      for (const std::size_t q : *questions) {
        longest = std::max(longest, validation_.questions()[q].question.size());
      }
    }
  }
  return static_cast<int64_t>(longest + training_.refusal().size()) + options_.max_answer_tokens;
}

std::vector<ReaderTask::Asked> ReaderTask::answer(const backbone::AdapterState& adapter,
                                                  const std::vector<Reading>& readings,
                                                  std::vector<backbone::KvCache>& contexts) const {
  const auto prepared = models_.decoder->prepare(adapter);
  backbone::GenerationOptions generation;
  generation.max_tokens = options_.max_answer_tokens;
  generation.stop = prompt_.stop;
  generation.stop_tokens = service::end_tokens(*models_.decoder_tokenizer);
  generation.adapter = prepared.get();
  const std::vector<backbone::TokenId> refusal =
      service::refusal_beginning(*models_.decoder_tokenizer, validation_.no_answer());
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < readings.size(); ++i) {
    const int64_t slots = contexts[i].slots();
    const int64_t position = contexts[i].next_position();
    std::vector<backbone::TokenId> reference;
    for (const std::size_t d : readings[i].documents) {
      const auto& tokens = validation_.documents()[d].tokens;
      reference.insert(reference.end(), tokens.begin(), tokens.end());
    }
    generation.reference = reference;
    const auto ask = [&](std::size_t q, bool answerable) {
      const ReaderQuestion& question = validation_.questions()[q];
      backbone::KvCache& cache = contexts[i];
      const backbone::ReadRequest read{&cache, question.question, backbone::Logits::last, false,
                                       false,  prepared.get()};
      const at::Tensor logits = models_.decoder->read({&read, 1}).front().logits;
      const double evidence =
          service::odds_against_refusal(*models_.decoder, cache, logits, refusal, prepared.get());
      const at::Tensor first =
          refusal.empty() ? logits : service::without_refusal(logits, refusal.front(), evidence);
      generation.topic = question.question;
      asked.push_back({&question, answerable,
                       backbone::generate_after(*models_.decoder, *models_.decoder_tokenizer, cache,
                                                first, generation),
                       evidence});
      cache.rewind(slots, position);
    };
    for (const std::size_t q : readings[i].questions) {
      ask(q, true);
    }
    for (const std::size_t q : readings[i].unanswerable) {
      ask(q, false);
    }
  }
  return asked;
}

learners::Validation ReaderTask::validate(const backbone::AdapterState& adapter) {
  const at::NoGradGuard no_gradient;
  double loss = 0;
  double f1 = 0;
  double em = 0;
  double questions = 0;
  for (const std::vector<Reading>& readings : validation_.once()) {
    std::vector<backbone::KvCache> contexts =
        contexts_.make(readings, validation_.documents(), room(readings));
    const std::vector<Asked> answers = answer(adapter, readings, contexts);
    for (const Asked& asked : answers) {
      f1 += token_f1(asked.answer.text, asked.question->answers);
      em += exact_match(asked.answer.text, asked.question->answers);
    }
    const auto here = static_cast<double>(answers.size());
    loss += here * batch_loss(adapter, readings, validation_, contexts, {}).item<double>();
    questions += here;
  }
  return {.loss = loss / questions,
          .metrics = {{"f1", 100 * f1 / questions}, {"em", 100 * em / questions}}};
}

ConfidenceFit ReaderTask::calibrate(const backbone::AdapterState& adapter) const {
  const at::NoGradGuard no_gradient;
  std::vector<AskedReading> all;
  for (const auto& batches : {validation_.once(), validation_.once_withheld()}) {
    for (const std::vector<Reading>& readings : batches) {
      std::vector<backbone::KvCache> contexts =
          contexts_.make(readings, validation_.documents(), room(readings));
      for (const Asked& asked : answer(adapter, readings, contexts)) {
        all.push_back({.mean_log_probability = asked.answer.mean_log_probability(),
                       .evidence = asked.evidence,
                       .answerable = asked.answerable,
                       .right = asked.answerable &&
                                token_f1(asked.answer.text, asked.question->answers) >= 0.5,
                       .refused = service::is_refusal(asked.answer.text, validation_.no_answer())});
      }
    }
  }
  return fit_confidence(all);
}

}  // namespace alluvium::experiments
