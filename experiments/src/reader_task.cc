#include "reader_task.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <ATen/core/grad_mode.h>

#include "alluvium/experiments/qa_metrics.h"
#include "alluvium/service/prompt.h"
#include "alluvium/service/readers.h"
#include "logistic_fit.h"

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
  return static_cast<int64_t>(longest) + options_.max_answer_tokens;
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
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < readings.size(); ++i) {
    const int64_t slots = contexts[i].slots();
    const int64_t position = contexts[i].next_position();
    const auto ask = [&](std::size_t q, bool answerable) {
      const ReaderQuestion& question = validation_.questions()[q];
      asked.push_back({&question, answerable,
                       backbone::generate(*models_.decoder, *models_.decoder_tokenizer, contexts[i],
                                          question.question, generation)});
      contexts[i].rewind(slots, position);
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

ReaderCalibration ReaderTask::calibrate(const backbone::AdapterState& adapter) const {
  const at::NoGradGuard no_gradient;
  std::vector<CalibrationPoint> points;
  ReaderCalibration calibration;
  const auto refused_share = [&](const std::vector<std::vector<Reading>>& batches) {
    double refused = 0;
    double questions = 0;
    for (const std::vector<Reading>& readings : batches) {
      std::vector<backbone::KvCache> contexts =
          contexts_.make(readings, validation_.documents(), room(readings));
      for (const Asked& asked : answer(adapter, readings, contexts)) {
        questions += 1;
        if (service::is_refusal(asked.answer.text, validation_.no_answer())) {
          refused += 1;
          continue;
        }
        const bool right =
            asked.answerable && token_f1(asked.answer.text, asked.question->answers) >= 0.5;
        points.push_back({asked.answer.mean_log_probability(), right});
      }
    }
    return questions > 0 ? 100 * refused / questions : 0;
  };
  calibration.refused_answerable = refused_share(validation_.once());
  calibration.refused_unanswerable = refused_share(validation_.once_withheld());
  std::tie(calibration.intercept, calibration.slope) = fit_logistic(points);
  return calibration;
}

}  // namespace alluvium::experiments
