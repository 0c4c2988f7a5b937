// alluvium bench long: documents of growing length with needles in them: what ingesting takes, and how
// long the first token of an answer takes.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/process_memory.h"
#include "alluvium/experiments/bench.h"
#include "alluvium/experiments/qa_dataset.h"
#include "alluvium/service/engine.h"
#include "needle_document.h"
#include "percentile.h"
#include "report.h"
#include "settings.h"
#include "temporary_directory.h"

namespace alluvium::experiments {
namespace {

constexpr int64_t kPatienceMs = 3'600'000;
constexpr auto kPoll = std::chrono::milliseconds(50);

/// Ingests one document, waits until all its memories are made and asks for every needle.
Row measure_length(const service::Configuration& base, const service::Models& models,
                   const std::vector<Document>& texts, int64_t tokens, int64_t needles) {
  const TemporaryDirectory directory;
  service::Configuration configuration = base;
  configuration.directory = directory.path() + "/instance";
  const auto engine = service::Engine::start(configuration, models);
  const NeedleDocument made =
      make_needle_document(texts, *models.decoder_tokenizer, tokens, needles);
  // Buffers of a first question are not the document's.
  service::Question question;
  question.text = made.needles.front().question;
  engine->ask(question);

  reset_peak_rss();
  const int64_t rss_before = peak_rss_bytes();
  const Stopwatch watch;
  std::vector<memory_bank::LogEntry> entries(1);
  entries[0].document = made.document;
  const int64_t offset = engine->log(entries).back();
  if (!engine->wait_applied(offset, kPatienceMs)) {
    throw Unavailable("the document was not ingested within an hour");
  }
  while (engine->memories().remaking) {
    std::this_thread::sleep_for(kPoll);
  }
  const double ingest_ms = watch.elapsed_ms();
  const int64_t rss = peak_rss_bytes() - rss_before;

  std::vector<double> first_token;
  std::vector<double> retrieve;
  int64_t right = 0;
  int64_t slots = 0;
  int64_t from_memory = 0;
  for (const Needle& needle : made.needles) {
    question.text = needle.question;
    const service::Answer answer = engine->ask(question);
    right += answer.text.find(needle.answer) != std::string::npos ? 1 : 0;
    from_memory += answer.codec == "kv" ? 1 : 0;
    slots = std::max(slots, answer.memory_slots);
    first_token.push_back(answer.first_token_ms);
    retrieve.push_back(answer.retrieve_ms);
  }
  const memory_bank::MemoryStatistics statistics = engine->memories().statistics;
  return {{"tokens", statistics.tokens},
          {"chunks", statistics.memories},
          {"ingest_s", ingest_ms / 1000},
          {"ingest_tokens_per_s", static_cast<double>(statistics.tokens) / ingest_ms * 1000},
          {"ingest_peak_mb", static_cast<double>(rss) / (1 << 20)},
          {"memory_mb", static_cast<double>(statistics.bytes) / (1 << 20)},
          {"needles", needles},
          {"right", right},
          {"from_memory", from_memory},
          {"slots_most", slots},
          {"retrieve_ms_p50", percentile(retrieve, 0.5)},
          {"first_token_ms_p50", percentile(first_token, 0.5)},
          {"first_token_ms_max", percentile(first_token, 1)}};
}

}  // namespace

int run_long_document_bench(const std::vector<std::string>& arguments) {
  std::string documents;
  std::vector<int64_t> lengths = {5000, 50000};
  int64_t needles = 10;
  std::string json;
  Settings settings;
  CLI::App app("Documents of growing length, joined from texts, with facts hidden in them.",
               "alluvium bench long");
  app.add_option("--documents", documents, "JSON lines: id, title, text; what is joined")
      ->required();
  app.add_option("--tokens", lengths, "lengths of the documents")->delimiter(',');
  app.add_option("--needles", needles, "facts hidden in each and asked for")
      ->check(CLI::Range(1, 100));
  app.add_option("--json", json, "write the result to this file");
  settings.add_to(app);
  if (const auto exit_code = settings.parse(app, arguments)) {
    return *exit_code;
  }
  const service::Configuration configuration = settings.configuration();
  const service::Models models = service::load_models(configuration);
  const std::vector<Document> texts = load_documents(documents);
  std::vector<Row> table;
  for (const int64_t tokens : lengths) {
    table.push_back(measure_length(configuration, models, texts, tokens, needles));
    fmt::print(stderr, "{} tokens: done\n", tokens);
  }
  std::fputs(to_markdown(table).c_str(), stdout);
  if (!json.empty()) {
    Row report = describe_run("long", arguments);
    report["threads"] = models.decoder->policy().threads;
    report["device"] = models.decoder->policy().reason;
    report["rows"] = table;
    write_json(json, report);
  }
  return 0;
}

}  // namespace alluvium::experiments
