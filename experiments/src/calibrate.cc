// alluvium calibrate: publish, ask with several candidates, with the right document and without it; fit.
#include <algorithm>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/error.h"
#include "alluvium/experiments/calibration.h"
#include "alluvium/experiments/qa_bench.h"
#include "alluvium/learners/adapter_file.h"
#include "choice_fit.h"
#include "confidence_fit.h"
#include "settings.h"
#include "temporary_directory.h"

namespace alluvium::experiments {
namespace {

ChoiceSet to_choice_set(const QaAnswer& given) {
  double highest = 0;
  for (const service::Citation& citation : given.answer.citations) {
    highest = std::max(highest, citation.score);
  }
  ChoiceSet set;
  for (const service::Citation& citation : given.answer.citations) {
    set.push_back(
        {.figures = {highest > 0 ? citation.score / highest : 0, citation.question_log_probability,
                     citation.evidence},
         .right = std::count(given.documents.begin(), given.documents.end(), citation.id) > 0});
  }
  return set;
}

AskedReading to_asked_reading(const QaAnswer& given) {
  const bool answerable = given.retrieval == "gold";
  const auto& citations = given.answer.citations;
  return {.mean_log_probability = given.answer.mean_log_probability,
          .evidence = citations.empty() ? 0 : citations.front().evidence,
          .answerable = answerable,
          .right = answerable && given.f1 >= 50,
          .refused = given.answer.refused};
}

/// Percent of the sets whose first alternative by these weights is right.
double first_right(const std::vector<ChoiceSet>& sets,
                   const std::array<double, kChoiceFigures>& weights) {
  double right = 0;
  for (const ChoiceSet& set : sets) {
    const auto score = [&](const ChoiceAlternative& a) {
      return weights[0] * a.figures[0] + weights[1] * a.figures[1] + weights[2] * a.figures[2];
    };
    const auto best = std::max_element(
        set.begin(), set.end(), [&](const auto& a, const auto& b) { return score(a) < score(b); });
    right += best != set.end() && best->right ? 1 : 0;
  }
  return sets.empty() ? 0 : 100 * right / static_cast<double>(sets.size());
}

}  // namespace

int run_calibrate(const std::vector<std::string>& arguments) {
  QaBenchOptions options;
  options.codecs = {"kv"};
  options.retrievals = {"hybrid"};
  options.readers = {"active"};
  int64_t candidates = 8;
  bool write = false;
  Settings settings;
  CLI::App app(
      "Fit the weights by which one document is chosen among several candidates, and what a "
      "reader's confidence and its refusals are worth, on questions with known documents that no "
      "later measurement uses.",
      "alluvium calibrate");
  app.add_option("--documents", options.documents, "JSON lines: id, title, text")->required();
  app.add_option("--questions", options.questions,
                 "JSON lines: id, question, answers, doc_id or doc_ids")
      ->required();
  app.add_option("--candidates", candidates, "documents considered for a question; 2..10");
  app.add_option("--reader", options.readers[0],
                 "none, active (the one of the configuration), or an adapter's directory");
  app.add_flag("--write", write, "put all of it into the manifest of the adapter in --reader");
  app.add_option("--limit", options.limit, "questions asked, drawn by the seed; 0 = all");
  app.add_option("--seed", options.seed, "of the draw");
  settings.add_to(app);
  if (const auto exit_code = settings.parse(app, arguments)) {
    return *exit_code;
  }
  ALLUVIUM_CHECK(candidates >= 2 && candidates <= 10, "candidates must lie in [2, 10], got {}",
                 candidates);
  const std::string reader = options.readers[0];
  ALLUVIUM_CHECK(!write || (reader != "none" && reader != "active"),
                 "--write needs the directory of an adapter in --reader, got '{}'", reader);
  options.top_k = {candidates};
  const TemporaryDirectory directory;
  options.configuration = settings.configuration();
  options.configuration.directory = directory.path();
  options.configuration.answer.choice.least_share = 0;  // the unlikely ones tell something, too
  options.configuration.reader.refuse_above = 1;        // and so do those that would be refused
  if (reader != "none") {
    options.retrievals = {"hybrid", "gold", "withheld"};
  }

  std::vector<ChoiceSet> sets;
  std::vector<AskedReading> asked;
  for (const QaAnswer& given : measure_qa(options).answers) {
    if (given.retrieval != "hybrid") {
      asked.push_back(to_asked_reading(given));
    } else if (!given.documents.empty()) {
      sets.push_back(to_choice_set(given));
    }
  }
  const auto weights = fit_choice(sets);
  fmt::print("right document first, of {} questions: {:.1f} % by retrieval alone, {:.1f} % with\n",
             sets.size(), first_right(sets, {1, 0, 0}), first_right(sets, weights));
  fmt::print(
      "[answer]\nretrieval_weight = {:.3f}\nquestion_weight = {:.4f}\n"
      "evidence_weight = {:.4f}\n",
      weights[0], weights[1], weights[2]);
  const ConfidenceFit confidence = fit_confidence(asked);
  if (reader != "none") {
    fmt::print("[reader]\nrefuse_above = {:.4f}\n", confidence.refuse_above);
    fmt::print("refused by it: {:.1f} % with the right document, {:.1f} % without it\n",
               confidence.refused_answerable, confidence.refused_unanswerable);
  }
  if (write) {
    const service::Models models = service::load_decoder_alone(options.configuration);
    learners::StoredAdapter stored =
        learners::load_adapter(reader, models.decoder->geometry().layers, models.decoder->model());
    stored.manifest.metrics["choice_retrieval_weight"] = weights[0];
    stored.manifest.metrics["choice_question_weight"] = weights[1];
    stored.manifest.metrics["choice_evidence_weight"] = weights[2];
    write_confidence(confidence, stored.manifest.metrics);
    learners::save_adapter(reader, stored.state, stored.manifest);
    fmt::print(stderr, "written to {}/manifest.json\n", reader);
  }
  return 0;
}

}  // namespace alluvium::experiments
