// alluvium publish: documents from files, folders, standard input or this machine's changelogs to the service.
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "connection.h"
#include "console.h"
#include "publisher.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

struct PublishOptions {
  ConnectionOptions connection;
  std::vector<std::string> locations;
  int64_t limit = 0;  ///< 0 = all
  bool wait = false;
};

void print_json(const PublishSummary& summary) {
  nlohmann::json problems = nlohmann::json::array();
  for (const memory_bank::DeadLetter& problem : summary.problems) {
    problems.push_back(
        {{"source", problem.source}, {"line", problem.line}, {"reason", problem.reason}});
  }
  const nlohmann::json object = {
      {"accepted", summary.accepted},
      {"refused", summary.refused},
      {"bad_lines", summary.bad},
      {"bytes", summary.bytes},
      {"seconds", summary.seconds},
      {"documents_per_s",
       summary.seconds > 0 ? static_cast<double>(summary.accepted) / summary.seconds : 0.0},
      {"adapted", summary.adapted},
      {"held_documents", summary.held},
      {"adapted_seconds", summary.adapted_seconds},
      {"problems", problems}};
  fmt::print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_summary(const PublishSummary& summary) {
  fmt::print("{} documents durable ({}) in {:.1f} s, {:.0f} documents/s\n", summary.accepted,
             format_bytes(static_cast<double>(summary.bytes)), summary.seconds,
             summary.seconds > 0 ? static_cast<double>(summary.accepted) / summary.seconds : 0.0);
  if (summary.adapted) {
    fmt::print("all answer questions after {:.1f} s\n", summary.adapted_seconds);
    if (summary.held > 0) {
      fmt::print("but for what the gate holds back: {} documents ('alluvium documents held')\n",
                 summary.held);
    }
  }
  if (summary.failed() == 0) {
    return;
  }
  fmt::print(
      "{} not taken; they are in the service's dead letters ('alluvium documents dead-letters'):\n",
      summary.failed());
  for (const memory_bank::DeadLetter& problem : summary.problems) {
    fmt::print("  {}:{}: {}\n", problem.source, problem.line, problem.reason);
  }
  if (summary.failed() > static_cast<int64_t>(summary.problems.size())) {
    fmt::print("  and {} more\n", summary.failed() - static_cast<int64_t>(summary.problems.size()));
  }
}

int run(const PublishOptions& options) {
  service::Client client(client_options(options.connection));
  client.connect();
  ProgressLine progress(has_terminal() && !options.connection.json);
  Publisher publisher(client, progress);
  streams::SourceOptions source;
  source.name_space = options.connection.name_space;
  int64_t left = options.limit;
  for (const std::string& location : options.locations) {
    source.max_documents = left;
    const int64_t sent = publisher.publish(location, source, left);
    left -= options.limit > 0 ? sent : 0;
    if (options.limit > 0 && left == 0) {
      break;
    }
  }
  publisher.finish();
  if (options.wait) {
    publisher.wait_until_adapted();
  }
  progress.clear();
  const PublishSummary& summary = publisher.summary();
  if (options.connection.json) {
    print_json(summary);
  } else {
    print_summary(summary);
  }
  return summary.failed() == 0 ? 0 : 1;
}

}  // namespace

void add_publish(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<PublishOptions>();
  CLI::App* verb = program.add_subcommand("publish", "Send documents to the service");
  verb->add_option("locations", options->locations,
                   ".jsonl, .jsonl.gz, .txt or .md files, folders, '-' (JSON lines on standard "
                   "input) or debian-changelogs")
      ->required();
  add_connection_options(*verb, options->connection);
  add_namespace_option(*verb, options->connection);
  verb->add_option("--limit", options->limit, "Send at most this many documents")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  verb->add_flag("--wait", options->wait, "Return when all of them answer questions");
  verb->footer(
      "Exit code 1 when a line was no document or the service refused one; the others are "
      "published.");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace alluvium::app
