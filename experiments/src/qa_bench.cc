#include "alluvium/experiments/qa_bench.h"

#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "alluvium/core/error.h"
#include "alluvium/experiments/bench.h"
#include "report.h"
#include "settings.h"
#include "temporary_directory.h"

namespace alluvium::experiments {
namespace {

Row to_row(const QaRow& row) {
  return {{"codec", row.codec},
          {"reader", row.reader},
          {"preset", row.preset},
          {"retrieval", row.retrieval},
          {"top_k", row.top_k},
          {"compose", row.compose},
          {"questions", row.questions},
          {"em", row.em},
          {"f1", row.f1},
          {"recall_at_k", row.recall_at_k},
          {"bytes_per_document", row.bytes_per_document},
          {"first_token_ms_p50", row.first_token_ms_p50},
          {"answer_ms_p50", row.answer_ms_p50},
          {"read_tokens_per_s", row.read_tokens_per_s},
          {"peak_rss_bytes", row.peak_rss_bytes},
          {"first_token_ms_p99", row.first_token_ms_p99},
          {"answer_ms_p99", row.answer_ms_p99},
          {"answer_ms_mean", row.answer_ms_mean},
          {"retrieve_ms_p50", row.retrieve_ms_p50},
          {"load_ms_p50", row.load_ms_p50},
          {"choose_ms_mean", row.choose_ms_mean},
          {"candidates_mean", row.candidates_mean},
          {"first_right", row.first_right},
          {"memory_slots_mean", row.memory_slots_mean},
          {"recomputed_tokens_mean", row.recomputed_tokens_mean},
          {"answer_tokens_mean", row.answer_tokens_mean},
          {"ms_per_token", row.ms_per_token},
          {"refused", row.refused},
          {"fallbacks", row.fallbacks}};
}

Row to_row(const RecallRow& row) {
  return {{"retrieval", row.retrieval},     {"questions", row.questions},
          {"recall_at_1", row.recall_at_1}, {"recall_at_3", row.recall_at_3},
          {"recall_at_5", row.recall_at_5}, {"recall_at_10", row.recall_at_10}};
}

Row to_row(const ConfidenceRow& row) {
  return {{"codec", row.codec},
          {"preset", row.preset},
          {"reader", row.reader},
          {"answers", row.answers},
          {"risk_coverage_area", row.risk_coverage_area},
          {"refused_answerable", row.refused_answerable},
          {"refused_unanswerable", row.refused_unanswerable}};
}

Row to_row(const QaAnswer& given) {
  Row citations = Row::array();
  for (const service::Citation& citation : given.answer.citations) {
    citations.push_back({{"id", citation.id},
                         {"score", citation.score},
                         {"weight", citation.weight},
                         {"question_log_probability", citation.question_log_probability},
                         {"evidence", citation.evidence}});
  }
  return {{"codec", given.codec},
          {"preset", given.preset},
          {"reader", given.reader},
          {"retrieval", given.retrieval},
          {"top_k", given.top_k},
          {"compose", given.compose},
          {"question_id", given.question_id},
          {"answer", given.answer.text},
          {"wanted", given.wanted},
          {"documents", given.documents},
          {"f1", given.f1},
          {"refused", given.answer.refused},
          {"confidence", given.answer.confidence},
          {"log_probability", given.answer.log_probability},
          {"citations", citations}};
}

template <class Rows>
std::vector<Row> to_rows(const Rows& rows) {
  std::vector<Row> converted;
  for (const auto& row : rows) {
    converted.push_back(to_row(row));
  }
  return converted;
}

Row to_json(const QaReport& measured, const QaBenchOptions& options,
            const std::vector<std::string>& arguments) {
  Row report = describe_run("qa", arguments);
  report["device"] = measured.device;
  report["threads"] = measured.threads;
  report["dtype"] = measured.dtype;
  report["over_sockets"] = options.over_sockets;
  report["seed"] = options.seed;
  report["documents"] = measured.documents;
  report["document_tokens"] = measured.document_tokens;
  report["publish_s"] = measured.publish_s;
  report["rows"] = to_rows(measured.rows);
  report["recall"] = to_rows(measured.recall);
  report["confidence"] = to_rows(measured.confidence);
  return report;
}

}  // namespace

int run_qa_bench(const std::vector<std::string>& arguments) {
  QaBenchOptions options;
  std::string json;
  std::string answers;
  std::string store;
  Settings settings;
  CLI::App app("Publish documents, ask questions with known answers, and compare the codecs.",
               "alluvium bench qa");
  app.add_option("--documents", options.documents, "JSON lines: id, title, text")->required();
  app.add_option("--questions", options.questions,
                 "JSON lines: id, question, answers, doc_id or doc_ids")
      ->required();
  app.add_option("--codec", options.codecs, "none, text, kv")->delimiter(',');
  app.add_option("--preset", options.presets,
                 "of kv: lossless, safe, default, compact, tiny; one store each")
      ->delimiter(',');
  app.add_option(
         "--retrieval", options.retrievals,
         "gold, bm25, vector, hybrid, rrf; withheld: the best one that is not the right one")
      ->delimiter(',');
  app.add_option("--top-k", options.top_k, "documents considered for a question")->delimiter(',');
  app.add_option("--compose", options.compose,
                 "of several documents: choose, together, sequence, blend, reuse")
      ->delimiter(',');
  app.add_option("--reader", options.readers,
                 "none, active (the one of the configuration), or an adapter's directory")
      ->delimiter(',');
  app.add_option("--llama-cpp", options.llama_cpp,
                 "experiments/peers/llama_cpp_answers.py: llama.cpp answers too, with the same "
                 "documents in its prompt");
  app.add_option("--limit", options.limit, "questions asked, drawn by the seed; 0 = all");
  app.add_option("--recall-limit", options.recall_limit,
                 "questions in the retrieval table; 0 = all");
  app.add_option("--seed", options.seed, "of the draw");
  app.add_flag("--over-sockets", options.over_sockets,
               "publish and ask through ZeroMQ on a free port");
  app.add_option("--store", store,
                 "directory in which the published documents stay for later runs; default: a "
                 "temporary one");
  app.add_option("--json", json, "write the result to this file");
  app.add_option("--answers", answers, "write every answer to this file, as JSON lines");
  settings.add_to(app);
  if (const auto exit_code = settings.parse(app, arguments)) {
    return *exit_code;
  }
  const TemporaryDirectory directory;
  options.configuration = settings.configuration();
  options.configuration.directory = store.empty() ? directory.path() : store;
  const QaReport measured = measure_qa(options);
  std::fputs(to_markdown(to_rows(measured.rows)).c_str(), stdout);
  for (const auto& table : {to_rows(measured.recall), to_rows(measured.confidence)}) {
    if (!table.empty()) {
      std::printf("\n%s", to_markdown(table).c_str());
    }
  }
  std::fprintf(stderr, "%lld documents, %lld tokens, published in %.1f s\n",
               static_cast<long long>(measured.documents),
               static_cast<long long>(measured.document_tokens), measured.publish_s);
  if (!json.empty()) {
    write_json(json, to_json(measured, options, arguments));
  }
  if (!answers.empty()) {
    write_json_lines(answers, to_rows(measured.answers));
  }
  return 0;
}

}  // namespace alluvium::experiments
