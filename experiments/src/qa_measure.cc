#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <c10/core/ScalarType.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/process_memory.h"
#include "alluvium/experiments/qa_bench.h"
#include "alluvium/experiments/qa_dataset.h"
#include "alluvium/experiments/qa_metrics.h"
#include "alluvium/service/compose.h"
#include "alluvium/service/engine.h"
#include "alluvium/service/prompt.h"
#include "percentile.h"
#include "progress_bar.h"
#include "qa_confidence.h"
#include "qa_llama_cpp.h"
#include "qa_recall.h"
#include "qa_service.h"

namespace alluvium::experiments {
namespace {

constexpr std::size_t kWarmUps = 2;

bool is_gold(const std::string& retrieval) { return retrieval == "gold"; }
bool is_withheld(const std::string& retrieval) { return retrieval == "withheld"; }

/// One of the methods that a retriever has.
bool is_method(const std::string& retrieval) {
  return !is_gold(retrieval) && !is_withheld(retrieval);
}

void check(const QaBenchOptions& options) {
  for (const std::string& codec : options.codecs) {
    ALLUVIUM_CHECK(codec == "none" || codec == "text" || codec == "kv",
                   "unknown codec '{}'; known: none, text, kv", codec);
  }
  for (const std::string& preset : options.presets) {
    memory_bank::CodecOptions codec = options.configuration.codec;
    codec.preset = preset;
    memory_bank::check_codec_options(codec);
  }
  for (const std::string& retrieval : options.retrievals) {
    if (is_method(retrieval)) {
      memory_bank::parse_retrieval_method(retrieval);
    }
  }
  for (const std::string& compose : options.compose) {
    service::parse_compose(compose);
  }
  for (const int64_t k : options.top_k) {
    ALLUVIUM_CHECK(k >= 1 && k <= kRecallPool, "top-k must be in 1..{}, got {}", kRecallPool, k);
  }
}

struct RowContext {
  service::Engine& engine;
  QaService& service;
  const std::vector<QaQuestion>& questions;
  const std::map<std::string, Recall>& recall;
  const std::map<int64_t, std::string>& ids;  // of the documents, by row
  const std::map<std::string, Document>& documents;
  int64_t prefix_slots = 0;
};

/// The best document that the question does not name.
std::vector<std::string> best_other(const RowContext& context, const QaQuestion& asked) {
  memory_bank::RetrievalQuery query;
  query.text = asked.text;
  query.limit = kRecallPool + static_cast<int64_t>(asked.document_ids.size());
  for (const memory_bank::RetrievalHit& hit : context.engine.retriever().search(query)) {
    const auto id = context.ids.find(hit.document_row);
    if (id != context.ids.end() &&
        std::count(asked.document_ids.begin(), asked.document_ids.end(), id->second) == 0) {
      return {id->second};
    }
  }
  return {};
}

service::Question to_question(const RowContext& context, const QaQuestion& asked,
                              const QaRow& row) {
  service::Question question;
  question.text = asked.text;
  question.codec = row.codec;
  question.reader = row.reader;
  question.top_k = row.top_k;
  question.compose = row.compose;
  if (is_gold(row.retrieval)) {
    question.document_ids = asked.document_ids;
  } else if (is_withheld(row.retrieval)) {
    question.document_ids = best_other(context, asked);
  } else if (row.codec != "none") {
    question.retrieval = row.retrieval;
  }
  return question;
}

double bytes_per_document(const std::string& codec, const memory_bank::StoreCounts& counts,
                          int64_t document_tokens) {
  const auto documents = static_cast<double>(std::max<int64_t>(counts.documents, 1));
  if (codec == "kv") {
    return static_cast<double>(counts.memory_bytes) / documents;
  }
  return codec == "text"
             ? static_cast<double>(document_tokens * int64_t{sizeof(backbone::TokenId)}) / documents
             : 0;
}

bool cites_right_document(const service::Answer& answer, const QaQuestion& asked) {
  return !answer.citations.empty() &&
         std::count(asked.document_ids.begin(), asked.document_ids.end(),
                    answer.citations.front().id) > 0;
}

void measure_row(const RowContext& context, QaRow& row, std::vector<QaAnswer>& answers) {
  std::vector<double> first_token;
  std::vector<double> total;
  std::vector<double> retrieve;
  std::vector<double> load;
  std::vector<double> choose;
  std::vector<double> slots;
  double em = 0;
  double f1 = 0;
  double tokens = 0;
  double candidates = 0;
  double recomputed = 0;
  double later_tokens = 0;
  double later_ms = 0;
  double text_tokens = 0;
  double text_ms = 0;
  for (std::size_t i = 0; i < std::min(kWarmUps, context.questions.size()); ++i) {
    context.service.ask(to_question(context, context.questions[i], row));
  }
  reset_peak_rss();
  ProgressBar bar(fmt::format("ask {} {} {}", row.codec, row.retrieval, row.top_k),
                  static_cast<int64_t>(context.questions.size()));
  for (const QaQuestion& asked : context.questions) {
    const service::Answer answer = context.service.ask(to_question(context, asked, row));
    em += exact_match(answer.text, asked.answers);
    const double answer_f1 = token_f1(answer.text, asked.answers);
    f1 += answer_f1;
    answers.push_back({.codec = row.codec,
                       .preset = row.preset,
                       .reader = row.reader,
                       .retrieval = row.retrieval,
                       .top_k = row.top_k,
                       .compose = row.compose,
                       .question_id = asked.id,
                       .wanted = asked.answers,
                       .documents = asked.document_ids,
                       .answer = answer,
                       .f1 = 100 * answer_f1});
    row.first_right += cites_right_document(answer, asked) ? 1 : 0;
    first_token.push_back(answer.first_token_ms);
    total.push_back(answer.total_ms);
    retrieve.push_back(answer.retrieve_ms);
    load.push_back(answer.load_ms);
    choose.push_back(answer.choose_ms);
    candidates += static_cast<double>(answer.citations.size());
    slots.push_back(static_cast<double>(answer.memory_slots));
    recomputed += static_cast<double>(answer.recomputed_tokens);
    text_tokens += static_cast<double>(answer.memory_slots - context.prefix_slots);
    text_ms += answer.load_ms;
    tokens += static_cast<double>(answer.answer_tokens);
    later_tokens += static_cast<double>(std::max<int64_t>(answer.answer_tokens - 1, 0));
    later_ms += answer.total_ms - answer.first_token_ms;
    row.refused += answer.refused ? 1 : 0;
    row.fallbacks += answer.codec == row.codec ? 0 : 1;
    bar.advance();
  }
  row.questions = static_cast<int64_t>(context.questions.size());
  const auto asked = static_cast<double>(std::max<int64_t>(row.questions, 1));
  row.em = 100 * em / asked;
  row.refused = 100 * row.refused / asked;
  row.first_right = 100 * row.first_right / asked;
  row.f1 = 100 * f1 / asked;
  row.first_token_ms_p50 = percentile(first_token, 0.5);
  row.first_token_ms_p99 = percentile(first_token, 0.99);
  row.answer_ms_p50 = percentile(total, 0.5);
  row.answer_ms_p99 = percentile(total, 0.99);
  row.answer_ms_mean = mean(total);
  row.retrieve_ms_p50 = percentile(retrieve, 0.5);
  row.load_ms_p50 = percentile(load, 0.5);
  row.choose_ms_mean = mean(choose);
  row.candidates_mean = candidates / asked;
  row.memory_slots_mean = mean(slots);
  row.recomputed_tokens_mean = recomputed / asked;
  row.answer_tokens_mean = tokens / asked;
  row.ms_per_token = later_tokens > 0 ? later_ms / later_tokens : 0;
  row.peak_rss_bytes = peak_rss_bytes();
  if (is_gold(row.retrieval)) {
    row.recall_at_k = 100;
  } else if (const auto found = context.recall.find(row.retrieval); found != context.recall.end()) {
    row.recall_at_k = found->second.at(row.top_k);
  }
  const service::EngineStatus status = context.engine.status();
  row.bytes_per_document = bytes_per_document(row.codec, status.store, status.tokens_read);
  if (row.codec == "kv" && status.ingest_ms > 0) {
    row.read_tokens_per_s = 1e3 * static_cast<double>(status.tokens_read) / status.ingest_ms;
  } else if (row.codec == "text" && text_ms > 0) {
    row.read_tokens_per_s = 1e3 * text_tokens / text_ms;
  }
}

/// What llama.cpp reads for a question: prefix, documents best last, question, as codec text in sequence.
std::vector<backbone::TokenId> whole_prompt(const RowContext& context,
                                            const service::TemplateConfiguration& prompt,
                                            const backbone::Tokenizer& tokenizer,
                                            const QaQuestion& asked, const QaRow& row) {
  std::vector<std::string> ids = asked.document_ids;
  if (is_withheld(row.retrieval)) {
    ids = best_other(context, asked);
  } else if (is_method(row.retrieval)) {
    ids.clear();
    memory_bank::RetrievalQuery query;
    query.text = asked.text;
    query.limit = row.top_k;
    query.method = memory_bank::parse_retrieval_method(row.retrieval);
    for (const memory_bank::RetrievalHit& hit : context.engine.retriever().search(query)) {
      ids.push_back(context.ids.at(hit.document_row));
    }
  }
  std::vector<backbone::TokenId> tokens = service::prefix_tokens(prompt, tokenizer);
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    const auto document = context.documents.find(*id);
    ALLUVIUM_CHECK(document != context.documents.end(),
                   "question {} names document {}, which is not there", asked.id, *id);
    for (const memory_bank::Chunk& chunk :
         service::document_chunks(prompt, tokenizer, document->second)) {
      tokens.insert(tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    }
  }
  const auto question = service::question_tokens(prompt, tokenizer, asked.text);
  tokens.insert(tokens.end(), question.begin(), question.end());
  return tokens;
}

/// Its answers stand in the row alone: they have no citations and no confidence.
void measure_llama_cpp(const RowContext& context, const QaBenchOptions& options,
                       const service::Models& models, QaRow& row) {
  std::vector<std::vector<backbone::TokenId>> prompts;
  for (const QaQuestion& asked : context.questions) {
    prompts.push_back(
        whole_prompt(context, options.configuration.prompt, *models.decoder_tokenizer, asked, row));
  }
  const std::vector<PeerAnswer> answers =
      ask_llama_cpp(options.llama_cpp, service::decoder_path(options.configuration.models), prompts,
                    models.decoder->policy().threads, options.configuration.answer.max_tokens);
  std::vector<double> first_token;
  std::vector<double> total;
  std::vector<double> tokens;
  std::vector<double> slots;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    row.em += exact_match(answers[i].text, context.questions[i].answers);
    row.f1 += token_f1(answers[i].text, context.questions[i].answers);
    first_token.push_back(answers[i].first_token_ms);
    total.push_back(answers[i].total_ms);
    tokens.push_back(static_cast<double>(answers[i].answer_tokens));
    slots.push_back(static_cast<double>(prompts[i].size()));
  }
  row.questions = static_cast<int64_t>(answers.size());
  const auto asked = static_cast<double>(std::max<int64_t>(row.questions, 1));
  row.em *= 100 / asked;
  row.f1 *= 100 / asked;
  row.first_token_ms_p50 = percentile(first_token, 0.5);
  row.first_token_ms_p99 = percentile(first_token, 0.99);
  row.answer_ms_p50 = percentile(total, 0.5);
  row.answer_ms_p99 = percentile(total, 0.99);
  row.answer_ms_mean = mean(total);
  row.answer_tokens_mean = mean(tokens);
  row.memory_slots_mean = mean(slots);
  row.candidates_mean = static_cast<double>(row.top_k);
}

/// What questions name for each of the readers asked for: "none", or name@version.
std::vector<std::string> reader_labels(service::Engine& engine,
                                       const std::vector<std::string>& readers) {
  std::vector<std::string> labels;
  for (const std::string& reader : readers) {
    if (reader == "none" || reader == "active") {
      const auto active = engine.readers().find(reader == "none" ? "none" : "");
      labels.push_back(active ? active->label() : "none");
      continue;
    }
    const service::ReaderStatus loaded = engine.readers().load(reader);
    const std::string label = fmt::format("{}@{}", loaded.name, loaded.version);
    ALLUVIUM_CHECK(std::count(labels.begin(), labels.end(), label) == 0,
                   "--reader: {} is a second {}; rows could not be told apart", reader, label);
    labels.push_back(label);
  }
  return labels;
}

/// The combinations that differ: the bare model reads nothing, and the gold documents need no
/// depth.
std::vector<QaRow> plan_rows(const QaBenchOptions& options, const std::vector<std::string>& codecs,
                             const std::string& preset, const std::vector<std::string>& readers) {
  std::vector<QaRow> rows;
  const auto add = [&](const std::string& codec, const std::string& retrieval, int64_t top_k,
                       const std::string& compose) {
    for (const std::string& reader : readers) {
      QaRow& row = rows.emplace_back();
      row.codec = codec;
      row.preset = codec == "kv" ? preset : "";
      row.reader = reader;
      row.retrieval = retrieval;
      row.top_k = top_k;
      row.compose = compose;
      if (codec == "none") {
        row.reader = "none";
        break;
      }
    }
  };
  for (const std::string& codec : codecs) {
    if (codec == "none") {
      add(codec, "none", 0, "");
      continue;
    }
    for (const std::string& retrieval : options.retrievals) {
      if (!is_method(retrieval)) {
        add(codec, retrieval, 1, "");
        continue;
      }
      for (const int64_t k : options.top_k) {
        for (const std::string& compose : k > 1 ? options.compose : std::vector<std::string>{""}) {
          add(codec, retrieval, k, compose);
        }
      }
    }
  }
  return rows;
}

/// All documents, or those that the questions name when no others can be read.
std::vector<Document> documents_to_publish(const QaBenchOptions& options,
                                           const std::vector<QaQuestion>& asked) {
  std::vector<Document> documents = load_documents(options.documents);
  if (!std::all_of(options.retrievals.begin(), options.retrievals.end(), is_gold)) {
    return documents;
  }
  std::set<std::string> named;
  for (const QaQuestion& question : asked) {
    named.insert(question.document_ids.begin(), question.document_ids.end());
  }
  std::erase_if(documents, [&](const Document& document) { return named.count(document.id) == 0; });
  ALLUVIUM_CHECK(!documents.empty(), "no document of {} is named by a question", options.documents);
  return documents;
}

/// One store: the rows of `codecs`, the retrieval table when `report` has none yet.
void measure_store(const QaBenchOptions& options, const service::Configuration& configuration,
                   const service::Models& models, const std::vector<Document>& documents,
                   const std::vector<QaQuestion>& all, const std::vector<std::string>& codecs,
                   QaReport& report) {
  const std::vector<QaQuestion> asked = sample_questions(all, options.seed, options.limit);
  const auto engine = service::Engine::start(configuration, models);
  const auto service = options.over_sockets ? make_socket_service(*engine, configuration)
                                            : make_direct_service(*engine, configuration);
  const bool first = report.rows.empty();
  const Stopwatch watch;
  {
    ProgressBar bar("publish", static_cast<int64_t>(documents.size()));
    service->publish(documents, [&](int64_t more) { bar.advance(more); });
  }
  report.publish_s += watch.elapsed_ms() / 1e3;
  report.documents = static_cast<int64_t>(documents.size());
  report.document_tokens = engine->status().tokens_read;

  std::map<std::string, Recall> recall;
  const auto ids = document_ids(engine->store(), documents);
  const auto recall_questions = sample_questions(all, options.seed, options.recall_limit);
  for (const std::string& retrieval : options.retrievals) {
    if (!is_method(retrieval) || !first) {
      continue;
    }
    const Recall& row = recall[retrieval] =
        measure_recall(*engine, retrieval, ids, recall_questions);
    report.recall.push_back(
        {retrieval, row.questions(), row.at(1), row.at(3), row.at(5), row.at(10)});
  }

  const int64_t prefix_slots = engine->codec("none").to_prefix({}, 1).slots();
  std::map<std::string, Document> by_id;
  for (const Document& document : documents) {
    by_id.emplace(document.id, document);
  }
  const RowContext context{*engine, *service, asked, recall, ids, by_id, prefix_slots};
  for (QaRow& row : plan_rows(options, codecs, configuration.codec.preset,
                              reader_labels(*engine, options.readers))) {
    measure_row(context, row, report.answers);
    for (const QaRow& earlier : report.rows) {
      if (!first && earlier.retrieval == row.retrieval && earlier.top_k == row.top_k) {
        row.recall_at_k = earlier.recall_at_k;  // retrieval is the same in every store
      }
    }
    report.rows.push_back(std::move(row));
  }
  if (first && !options.llama_cpp.empty()) {
    QaBenchOptions in_prompt = options;
    in_prompt.compose = {"together"};
    for (QaRow& row : plan_rows(in_prompt, {"llama.cpp"}, "", {"none"})) {
      measure_llama_cpp(context, options, models, row);
      report.rows.push_back(std::move(row));
    }
  }
}

}  // namespace

QaReport measure_qa(const QaBenchOptions& options) {
  check(options);
  const std::vector<QaQuestion> all = load_questions(options.questions);
  const std::vector<Document> documents =
      documents_to_publish(options, sample_questions(all, options.seed, options.limit));
  const bool wants_kv = std::count(options.codecs.begin(), options.codecs.end(), "kv") > 0;

  service::Configuration configuration = options.configuration;
  configuration.answer.codec = wants_kv ? "kv" : "text";
  for (const int64_t k : options.top_k) {
    configuration.answer.max_chunks = std::max(configuration.answer.max_chunks, k);
  }
  const service::Models models = service::load_models(configuration);
  QaReport report;
  const backbone::DevicePolicy& policy = models.decoder->policy();
  report.device = policy.reason;
  report.dtype = c10::toString(policy.dtype);
  report.threads = policy.threads;

  std::vector<std::string> presets = options.presets;
  if (presets.empty() || !wants_kv) {
    presets = {configuration.codec.preset};
  }
  std::vector<std::string> codecs = options.codecs;
  for (const std::string& preset : presets) {
    configuration.codec.preset = preset;
    configuration.directory = options.presets.empty()
                                  ? options.configuration.directory
                                  : options.configuration.directory + "/" + preset;
    measure_store(options, configuration, models, documents, all, codecs, report);
    codecs = {"kv"};  // the others do not depend on the preset
  }
  report.confidence = summarise_confidence(report.answers);
  return report;
}

}  // namespace alluvium::experiments
