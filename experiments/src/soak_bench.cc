// alluvium bench soak: a service with very many memories, through two lives: what it holds in RAM, whether it answers alike after a restart,
// and whether every record is whole.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/core/utf8.h"
#include "alluvium/experiments/bench.h"
#include "alluvium/experiments/qa_dataset.h"
#include "alluvium/service/client.h"
#include "percentile.h"
#include "progress_bar.h"
#include "report.h"
#include "server_process.h"
#include "settings.h"
#include "temporary_directory.h"

namespace alluvium::experiments {
namespace {

constexpr double kMegabyte = 1 << 20;
constexpr int64_t kStopMs = 120'000;
constexpr int64_t kFlushMs = 1000;

struct SoakOptions {
  std::vector<std::string> documents;
  int64_t limit = 20'000;
  int64_t text_bytes = 0;
  int64_t questions = 1000;
  uint64_t seed = 0;
};

service::ClientOptions options_for(const ServerProcess& server) {
  service::ClientOptions options;
  options.endpoint = server.endpoint();
  return options;
}

/// The first documents of all files, each cut to `text_bytes`.
std::vector<Document> load(const SoakOptions& options) {
  std::vector<Document> documents;
  for (const std::string& path : options.documents) {
    std::vector<Document> more = load_documents(path);
    std::move(more.begin(), more.end(), std::back_inserter(documents));
  }
  if (options.limit > 0 && std::ssize(documents) > options.limit) {
    documents.resize(static_cast<std::size_t>(options.limit));
  }
  if (options.text_bytes > 0) {
    for (Document& document : documents) {
      const std::string_view cut =
          std::string_view(document.text).substr(0, static_cast<std::size_t>(options.text_bytes));
      document.text = std::string(cut.substr(0, complete_utf8_prefix(cut)));
    }
  }
  return documents;
}

/// Which document each question is about: rank r with a probability that falls as 1 / r, as what is asked about does (Zipf).
std::vector<std::size_t> draw_asked(std::size_t documents, const SoakOptions& options) {
  Random random(options.seed);
  std::vector<std::size_t> order(documents);
  std::iota(order.begin(), order.end(), 0);
  random.shuffle(order);
  std::vector<std::size_t> asked;
  for (int64_t i = 0; i < options.questions; ++i) {
    const double rank = std::exp(random.uniform() * std::log(static_cast<double>(documents)));
    asked.push_back(order[std::min(documents - 1, static_cast<std::size_t>(rank) - 1)]);
  }
  return asked;
}

void publish(service::Client& client, const std::vector<Document>& documents) {
  ProgressBar bar("publish", std::ssize(documents));
  client.on_result([](const service::PublishResult& result) {
    if (!result.accepted) {
      throw InvalidArgument(
          fmt::format("document {} was refused: {}", result.sequence, result.reason));
    }
  });
  int64_t shown = 0;
  const auto show = [&] {
    const auto status = nlohmann::json::parse(client.status());
    const int64_t applied =
        std::min(status.at("applied_offset").get<int64_t>(), std::ssize(documents));
    bar.advance(applied - shown);
    shown = applied;
  };
  for (std::size_t i = 0; i < documents.size(); ++i) {
    client.put(documents[i]);
    if (i % 500 == 499) {
      show();
    }
  }
  client.drain();
  while (shown < std::ssize(documents)) {
    try {
      client.flush(kFlushMs);
    } catch (const service::RequestRefused&) {
      // Not yet: documents are read in the background.
    }
    show();
  }
}

struct Asked {
  std::vector<std::string> answers;
  std::vector<double> first_token_ms;
  double hit_share_first = 0;   ///< of the first half of the questions
  double hit_share_second = 0;  ///< of the second
};

Asked ask_all(service::Client& client, const std::vector<Document>& documents,
              const std::vector<std::size_t>& asked) {
  ProgressBar bar("ask", std::ssize(asked));
  Asked result;
  const auto cache = [&] {
    const auto status = nlohmann::json::parse(client.status());
    return std::pair(status.at("cache_hits").get<double>(),
                     status.at("cache_misses").get<double>());
  };
  auto [hits, misses] = cache();
  const auto share = [&] {
    const auto [hits_now, misses_now] = cache();
    const double looked = hits_now - hits + misses_now - misses;
    const double found = hits_now - hits;
    hits = hits_now;
    misses = misses_now;
    return looked > 0 ? found / looked : 0;
  };
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (i == asked.size() / 2) {
      result.hit_share_first = share();
    }
    const Document& document = documents[asked[i]];
    service::Question question;
    question.text = fmt::format("What is said about {}?",
                                document.title.empty() ? document.id : document.title);
    const service::Answer answer = client.ask(question);
    std::string line = answer.text;
    for (const service::Citation& citation : answer.citations) {
      line += fmt::format("\n{}@{}", citation.id, citation.version);
    }
    result.answers.push_back(std::move(line));
    result.first_token_ms.push_back(answer.first_token_ms);
    bar.advance();
  }
  result.hit_share_second = share();
  return result;
}

/// One life after the other over the same directory; the second publishes nothing.
std::vector<Row> measure(const SoakOptions& options, const ServerOptions& server_options,
                         std::vector<std::string>& faults) {
  const std::vector<Document> documents = load(options);
  const std::vector<std::size_t> asked = draw_asked(documents.size(), options);
  std::vector<Row> rows;
  std::vector<std::string> first_answers;
  for (const bool first : {true, false}) {
    const Stopwatch start;
    ServerProcess server(server_options);
    const double start_ms = start.elapsed_ms();
    const int64_t idle = server.peak_rss_bytes();
    service::Client client(options_for(server));
    const Stopwatch ingest;
    if (first) {
      publish(client, documents);
    }
    const double ingest_s = first ? ingest.elapsed_ms() / 1000 : 0;
    const int64_t published = server.peak_rss_bytes();
    const Asked answers = ask_all(client, documents, asked);
    const int64_t peak = server.peak_rss_bytes();
    int64_t changed = 0;
    if (first) {
      first_answers = answers.answers;
    } else {
      for (std::size_t i = 0; i < first_answers.size(); ++i) {
        changed += first_answers[i] == answers.answers[i] ? 0 : 1;
      }
    }
    const auto status = nlohmann::json::parse(client.status());
    for (std::string& line : client.verify_memories()) {
      faults.push_back(std::move(line));
    }
    rows.push_back({{"life", first ? 1 : 2},
                    {"documents", status.at("documents")},
                    {"memories", status.at("memories")},
                    {"memory_mb_on_disk", status.at("memory_bytes").get<double>() / kMegabyte},
                    {"cache_mb", status.at("cache_bytes").get<double>() / kMegabyte},
                    {"start_ms", start_ms},
                    {"ingest_s", ingest_s},
                    {"rss_mb_idle", static_cast<double>(idle) / kMegabyte},
                    {"rss_mb_published", static_cast<double>(published) / kMegabyte},
                    {"rss_mb_peak", static_cast<double>(peak) / kMegabyte},
                    {"questions", options.questions},
                    {"answers_changed", changed},
                    {"cache_hit_share_first_half", answers.hit_share_first},
                    {"cache_hit_share_second_half", answers.hit_share_second},
                    {"first_token_ms_p50", percentile(answers.first_token_ms, 0.5)},
                    {"first_token_ms_p99", percentile(answers.first_token_ms, 0.99)}});
    if (const int exit_code = server.stop(kStopMs); exit_code != 0) {
      faults.push_back(fmt::format("the service stopped with exit code {}", exit_code));
    }
  }
  return rows;
}

}  // namespace

int run_soak_bench(const std::vector<std::string>& arguments) {
  SoakOptions options;
  ServerOptions server;
  std::string json;
  Settings settings;
  CLI::App app(
      "Publish very many documents to a service, ask, restart it and ask the same: memory, "
      "answers, records.",
      "alluvium bench soak");
  app.add_option("--documents", options.documents,
                 "JSON lines: id, title, text; one file after the other")
      ->required()
      ->delimiter(',');
  app.add_option("--limit", options.limit, "documents published; 0 = all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--text-bytes", options.text_bytes,
                 "of a document's text used, so that many are read in little time; 0 = all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--questions", options.questions,
                 "asked in each life, some documents far more often than others")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed, "of the documents asked about");
  app.add_option("--program", server.program, "the alluvium program; default: this one");
  app.add_option("--json", json, "write the result to this file");
  settings.add_to(app);
  if (const auto exit_code = Settings::parse(app, arguments)) {
    return *exit_code;
  }
  server.arguments = settings.as_arguments();
  if (server.program.empty()) {
    server.program = own_program();
  }
  const TemporaryDirectory directory;
  server.directory = directory.path() + "/instance";
  std::vector<std::string> faults;
  const std::vector<Row> rows = measure(options, server, faults);
  std::fputs(to_markdown(rows).c_str(), stdout);
  for (const std::string& fault : faults) {
    fmt::print(stderr, "fault: {}\n", fault);
  }
  if (!json.empty()) {
    Row report = describe_run("soak", arguments);
    report["seed"] = options.seed;
    report["rows"] = rows;
    report["faults"] = faults;
    write_json(json, report);
  }
  return faults.empty() ? 0 : 1;
}

}  // namespace alluvium::experiments
