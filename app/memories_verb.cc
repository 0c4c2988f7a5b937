// alluvium memories: what the stored memories take, and whether every one is sound.
//
// Both read the instance's files, beside a running service or without one.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/memory_bank/store.h"
#include "configuration_options.h"
#include "console.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

constexpr int64_t kPage = 1000;

struct MemoriesOptions {
  ConfigurationOptions configuration;
  bool json = false;
};

std::unique_ptr<memory_bank::Store> open_store(const MemoriesOptions& options) {
  memory_bank::StoreOptions store;
  store.read_only = true;
  return memory_bank::Store::open(read_configuration(options.configuration).directory, store);
}

/// Every document that has memories.
std::vector<memory_bank::DocumentSummary> remembered(memory_bank::Store& store) {
  std::vector<memory_bank::DocumentSummary> documents =
      store.list("", "", std::max(store.counts({}).documents, kPage));
  std::erase_if(documents, [](const auto& document) { return document.memory_bytes == 0; });
  return documents;
}

int stat(const MemoriesOptions& options) {
  const auto store = open_store(options);
  const auto documents = remembered(*store);
  int64_t tokens = 0;
  int64_t bytes = 0;
  std::vector<double> per_token;
  for (const auto& document : documents) {
    tokens += document.tokens;
    bytes += document.memory_bytes;
    per_token.push_back(static_cast<double>(document.memory_bytes) /
                        static_cast<double>(std::max<int64_t>(document.tokens, 1)));
  }
  std::sort(per_token.begin(), per_token.end());
  const auto quantile = [&](double share) {
    return per_token.empty() ? 0.0
                             : per_token[static_cast<std::size_t>(
                                   share * static_cast<double>(per_token.size() - 1))];
  };
  const double mean = tokens == 0 ? 0.0 : static_cast<double>(bytes) / static_cast<double>(tokens);
  if (options.json) {
    const nlohmann::ordered_json report = {{"documents", documents.size()},
                                           {"tokens", tokens},
                                           {"memory_bytes", bytes},
                                           {"bytes_per_token", mean},
                                           {"bytes_per_token_p50", quantile(0.5)},
                                           {"bytes_per_token_p99", quantile(0.99)},
                                           {"bytes_per_token_lowest", quantile(0)},
                                           {"bytes_per_token_highest", quantile(1)}};
    fmt::print("{}\n", report.dump(2));
    return 0;
  }
  fmt::print("documents  {} with memories, {} tokens\n", documents.size(), tokens);
  fmt::print("memories   {}\n", format_bytes(static_cast<double>(bytes)));
  fmt::print("a token    {:.0f} bytes; by document {:.0f} lowest, {:.0f} median, {:.0f} highest\n",
             mean, quantile(0), quantile(0.5), quantile(1));
  return 0;
}

int verify(const MemoriesOptions& options) {
  const auto store = open_store(options);
  const std::vector<std::string> findings = store->verify();
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"findings", findings}}.dump(2));
  } else if (findings.empty()) {
    fmt::print("every memory is sound\n");
  }
  for (const std::string& finding : findings) {
    if (!options.json) {
      fmt::print("{}\n", finding);
    }
  }
  return findings.empty() ? 0 : 1;
}

}  // namespace

void add_memories(CLI::App& program, int& exit_code) {
  CLI::App* verb =
      program.add_subcommand("memories", "Count the stored memories' bytes, or check every one");
  verb->require_subcommand(1);
  const auto add = [&](const char* name, const char* purpose, auto run) {
    auto options = std::make_shared<MemoriesOptions>();
    CLI::App* part = verb->add_subcommand(name, purpose);
    add_configuration_options(*part, options->configuration);
    part->add_flag("--json", options->json, "machine-readable");
    part->callback([options, run, &exit_code] { exit_code = run(*options); });
  };
  add("stat", "bytes of all memories, and how they are spread over documents", stat);
  add("verify", "check pages and every record; 1 when something is wrong", verify);
}

}  // namespace alluvium::app
