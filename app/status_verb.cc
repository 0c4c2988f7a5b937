// alluvium status: what the service holds and does.
#include <memory>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "connection.h"
#include "console.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

void print_status(const nlohmann::json& status, const std::string& endpoint) {
  const auto number = [&](const char* key) { return status.at(key).get<int64_t>(); };
  const auto text = [&](const char* key) { return status.at(key).get<std::string>(); };
  fmt::print("service      {}\n", endpoint);
  fmt::print("device       {}\n", text("device"));
  fmt::print("codec        {}\n", text("codec"));
  fmt::print("reader       {}\n", text("reader"));
  if (!text("reader_problem").empty()) {
    fmt::print("             {}\n", text("reader_problem"));
  }
  fmt::print("documents    {} ({} chunks, {} keys, {} tombstones, {} dead letters)\n",
             number("documents"), number("chunks"), number("keys"), number("tombstones"),
             number("dead_letters"));
  if (text("gate") != "none" || number("held_documents") > 0) {
    fmt::print("gate         {}; {} documents held back\n", text("gate"), number("held_documents"));
  }
  fmt::print("memories     {} ready, {} to be made again, {}\n", number("memories"),
             number("stale_memories"), format_bytes(static_cast<double>(number("memory_bytes"))));
  const nlohmann::json& report = status.at("memory_report");
  const nlohmann::json& gap = report.at("quality_gap");
  fmt::print(
      "             preset {}, {} chunks wait for it; quality gap {:.3f} median, {:.3f} p99 "
      "nats a token\n",
      report.at("preset").get<std::string>(), report.at("waiting").get<int64_t>(),
      gap.at("p50").get<double>(), gap.at("p99").get<double>());
  fmt::print("database     {}\n", format_bytes(static_cast<double>(number("database_bytes"))));
  fmt::print("ingest       {} waiting; log at {}, applied to {}\n", number("pending"),
             number("logged_offset"), number("applied_offset"));
  const double seconds = status.at("ingest_ms").get<double>() / 1e3;
  const auto tokens = static_cast<double>(number("tokens_read"));
  fmt::print("since start  {} documents adapted, {} tokens read ({:.0f} tokens/s), {} questions\n",
             number("documents_adapted"), number("tokens_read"),
             seconds > 0 ? tokens / seconds : 0.0, number("questions"));
  fmt::print("cache        {} memories and {} variants, {}; {} hits, {} misses\n",
             number("cache_entries"), status.value("cache_variants", int64_t{0}),
             format_bytes(static_cast<double>(number("cache_bytes"))), number("cache_hits"),
             number("cache_misses"));
  if (status.at("remaking").get<bool>()) {
    fmt::print("remaking     memories of another model are being made again\n");
  }
  if (!text("ingest_error").empty()) {
    fmt::print("ingest waits {}\n", text("ingest_error"));
  }
}

int run(const ConnectionOptions& options) {
  service::Client client(client_options(options));
  const nlohmann::json status = nlohmann::json::parse(client.status());
  if (options.json) {
    fmt::print("{}\n", status.dump(2));
  } else {
    print_status(status, options.endpoint);
  }
  return 0;
}

}  // namespace

void add_status(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<ConnectionOptions>();
  CLI::App* verb = program.add_subcommand("status", "Show what the service holds and does");
  add_connection_options(*verb, *options);
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace alluvium::app
