// alluvium memories: what the stored memories take, whether every one is sound, and other sizes.
//
// stat and verify work beside a running service or without one; what heals or changes memories is
// asked of the service.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/memory_report.h"
#include "configuration_options.h"
#include "connection.h"
#include "console.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(250);

struct MemoriesOptions {
  ConfigurationOptions configuration;
  ConnectionOptions connection;
  std::string preset;
  bool wait = false;
};

std::unique_ptr<memory_bank::Store> open_store(const MemoriesOptions& options) {
  const service::Configuration configuration = read_configuration(options.configuration);
  memory_bank::StoreOptions store;
  store.read_only = true;
  store.basis = service::load_basis(configuration);
  return memory_bank::Store::open(configuration.directory, store);
}

void print(const std::string& report, bool as_json) {
  const auto json = nlohmann::ordered_json::parse(report);
  if (as_json) {
    fmt::print("{}\n", json.dump(2));
    return;
  }
  const auto number = [&](const char* key) { return json.at(key).get<int64_t>(); };
  const auto per_token = [](const nlohmann::ordered_json& part) {
    const double tokens = std::max(part.at("tokens").get<double>(), 1.0);
    return part.at("bytes").get<double>() / tokens;
  };
  fmt::print("memories     {} of {} tokens, {:.0f} bytes a token\n", number("memories"),
             number("tokens"), per_token(json));
  fmt::print("bytes        {} alive, {} in the files\n",
             format_bytes(json.at("bytes").get<double>()),
             format_bytes(json.at("segment_bytes").get<double>()));
  for (const auto& [preset, part] : json.at("presets").items()) {
    fmt::print("  {:10} {} memories ({} richer than asked for), {}, {:.0f} bytes a token\n", preset,
               part.at("memories").get<int64_t>(), part.at("richer").get<int64_t>(),
               format_bytes(part.at("bytes").get<double>()), per_token(part));
  }
  const auto& gap = json.at("quality_gap");
  fmt::print(
      "quality gap  {} measured; nats a token: {:.3f} median, {:.3f} p90, {:.3f} p99, {:.3f} "
      "highest\n",
      gap.at("measured").get<int64_t>(), gap.at("p50").get<double>(), gap.at("p90").get<double>(),
      gap.at("p99").get<double>(), gap.at("highest").get<double>());
  const auto preset = json.at("preset").get<std::string>();
  if (!preset.empty()) {
    fmt::print("preset       {}; {} chunks wait for it{}\n", preset, number("waiting"),
               json.at("remaking").get<bool>() ? ", being made now" : "");
  }
}

int stat(const MemoriesOptions& options) {
  service::MemoryReport report;
  report.statistics = open_store(options)->memory_statistics({});
  report.statistics.waiting = 0;  // only the service knows what it aims at
  print(service::report_to_json(report), options.connection.json);
  return 0;
}

/// By the service, which heals; nothing when none answers.
std::optional<std::vector<std::string>> verify_at_service(const MemoriesOptions& options) {
  try {
    service::Client client(client_options(options.connection));
    client.connect();
    return client.verify_memories();
  } catch (const Unavailable&) {
    return std::nullopt;
  }
}

int verify(const MemoriesOptions& options) {
  const auto healed = verify_at_service(options);
  const std::vector<std::string> findings = healed ? *healed : open_store(options)->verify();
  if (options.connection.json) {
    fmt::print(
        "{}\n",
        nlohmann::ordered_json{{"findings", findings}, {"healing", healed.has_value()}}.dump(2));
  } else {
    for (const std::string& finding : findings) {
      fmt::print("{}\n", finding);
    }
    fmt::print("{}\n", findings.empty() ? "every memory is sound"
                       : healed         ? "damaged memories are being made anew from their text"
                                        : "start the service and verify again to heal them");
  }
  return findings.empty() ? 0 : 1;
}

int recompress(const MemoriesOptions& options) {
  service::Client client(client_options(options.connection));
  std::string report = client.recompress_memories(options.preset);
  while (options.wait) {
    report = client.memories();
    const auto json = nlohmann::json::parse(report);
    if (!json.at("remaking").get<bool>()) {
      break;
    }
    std::this_thread::sleep_for(kPoll);
  }
  print(report, options.connection.json);
  return 0;
}

int compact(const MemoriesOptions& options) {
  service::Client client(client_options(options.connection));
  print(client.compact_memories(), options.connection.json);
  return 0;
}

}  // namespace

void add_memories(CLI::App& program, int& exit_code) {
  CLI::App* verb = program.add_subcommand(
      "memories", "Count the stored memories, check every one, or store them in another size");
  verb->require_subcommand(1);
  const auto add = [&](const char* name, const char* purpose, auto run, bool files, bool service) {
    auto options = std::make_shared<MemoriesOptions>();
    CLI::App* part = verb->add_subcommand(name, purpose);
    if (files) {
      add_configuration_options(*part, options->configuration);
    }
    if (service) {
      add_connection_options(*part, options->connection);
    } else {
      part->add_flag("--json", options->connection.json, "Print one JSON object");
    }
    part->callback([options, run, &exit_code] { exit_code = run(*options); });
    return std::pair(part, options);
  };
  add("stat", "counts, bytes and quality of all memories, by preset", stat, true, false);
  add("verify",
      "read every record; a running service makes damaged ones anew from the text; 1 when "
      "something "
      "is wrong",
      verify, true, true);
  const auto [remade, options] =
      add("recompress", "have the service make all memories anew under another preset", recompress,
          false, true);
  remade->add_option("--codec", options->preset, "lossless, safe, default, compact or tiny")
      ->required();
  remade->add_flag("--wait", options->wait, "Return when all are made");
  add("compact", "have the service give the bytes of memories that are gone back to the disk",
      compact, false, true);
}

}  // namespace alluvium::app
