// alluvium documents: what the service keeps and what its gate holds, one document in full, and deleting it.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "connection.h"
#include "console.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

using nlohmann::json;

struct DocumentsOptions {
  ConnectionOptions connection;
  std::string id;
  int64_t limit = 100;
};

void print(const json& object) {
  fmt::print("{}\n", object.dump(2, ' ', false, json::error_handler_t::replace));
}

json to_json(const memory_bank::DocumentSummary& summary) {
  return {{"namespace", summary.name_space},
          {"id", summary.id},
          {"version", summary.version},
          {"title", summary.title},
          {"valid_from_us", summary.valid_from_us},
          {"created_us", summary.created_us},
          {"text_bytes", summary.text_bytes},
          {"tokens", summary.tokens},
          {"chunks", summary.chunks},
          {"memory_bytes", summary.memory_bytes}};
}

/// All pages up to the limit.
std::vector<memory_bank::DocumentSummary> list(service::Client& client,
                                               const DocumentsOptions& options) {
  constexpr int64_t kPage = 1000;
  std::vector<memory_bank::DocumentSummary> all;
  while (true) {
    const int64_t left = options.limit - static_cast<int64_t>(all.size());
    const auto page =
        client.list_documents(options.connection.name_space, all.empty() ? "" : all.back().id,
                              options.limit == 0 ? kPage : std::min(kPage, left));
    all.insert(all.end(), page.begin(), page.end());
    const bool full = options.limit > 0 && static_cast<int64_t>(all.size()) >= options.limit;
    if (page.empty() || full) {
      return all;
    }
  }
}

int run_list(const DocumentsOptions& options) {
  service::Client client(client_options(options.connection));
  const auto summaries = list(client, options);
  if (options.connection.json) {
    json documents = json::array();
    for (const auto& summary : summaries) {
      documents.push_back(to_json(summary));
    }
    print({{"namespace", options.connection.name_space}, {"documents", documents}});
    return 0;
  }
  for (const auto& summary : summaries) {
    fmt::print("{:<32} v{:<6} {:>6} tokens {:>10}  {}\n", shorten(summary.id, 32), summary.version,
               summary.tokens, format_bytes(static_cast<double>(summary.memory_bytes)),
               shorten(summary.title, 60));
  }
  fmt::print("{} documents in namespace '{}'\n", summaries.size(), options.connection.name_space);
  return 0;
}

int report_missing(const DocumentsOptions& options) {
  const std::string reason = fmt::format("there is no document '{}' in namespace '{}'", options.id,
                                         options.connection.name_space);
  if (options.connection.json) {
    print({{"id", options.id}, {"found", false}});
  }
  fmt::print(stderr, "alluvium: {}\n", reason);
  return 1;
}

int run_show(const DocumentsOptions& options) {
  service::Client client(client_options(options.connection));
  const auto found = client.find_document(options.connection.name_space, options.id);
  if (!found) {
    return report_missing(options);
  }
  const auto& [document, summary] = *found;
  if (options.connection.json) {
    json object = to_json(summary);
    object["text"] = document.text;
    object["metadata"] = document.metadata;
    print(object);
    return 0;
  }
  fmt::print("id          {}\nnamespace   {}\nversion     {}\n", document.id, document.name_space,
             document.version);
  fmt::print("title       {}\nvalid from  {}\nstored      {}\n", document.title,
             format_time(document.valid_from_us), format_time(summary.created_us));
  fmt::print("memory      {} tokens in {} chunks, {}\n", summary.tokens, summary.chunks,
             format_bytes(static_cast<double>(summary.memory_bytes)));
  for (const auto& [key, value] : document.metadata) {
    fmt::print("{:<11} {}\n", key, value);
  }
  fmt::print("\n{}\n", document.text);
  return 0;
}

/// The highest version there is, stored or held; nothing when there is none.
std::optional<uint64_t> version_to_delete(service::Client& client,
                                          const DocumentsOptions& options) {
  const std::string& name_space = options.connection.name_space;
  const auto found = client.find_document(name_space, options.id);
  const auto held = client.held_document(name_space, options.id);
  if (!found && !held) {
    return std::nullopt;
  }
  return std::max(found ? found->document.version : 0, held ? held->document.version : 0);
}

int run_delete(const DocumentsOptions& options) {
  service::Client client(client_options(options.connection));
  // What is still on its way in must be visible before its version can be named.
  client.flush();
  const auto version = version_to_delete(client, options);
  if (!version) {
    return report_missing(options);
  }
  bool refused = false;
  client.on_result([&](const service::PublishResult& result) {
    refused = !result.accepted;
    if (refused) {
      fmt::print(stderr, "alluvium: {}\n", result.reason);
    }
  });
  client.erase(options.connection.name_space, options.id, *version);
  client.flush();
  if (refused) {
    return 1;
  }
  if (options.connection.json) {
    print({{"id", options.id}, {"found", true}, {"deleted_version", *version}});
  } else {
    fmt::print("deleted {} up to version {}: text, memory, vectors and index rows\n", options.id,
               *version);
  }
  return 0;
}

int run_dead_letters(const DocumentsOptions& options) {
  service::Client client(client_options(options.connection));
  const auto letters = client.dead_letters(options.limit == 0 ? 1000 : options.limit);
  if (options.connection.json) {
    json list = json::array();
    for (const auto& letter : letters) {
      list.push_back({{"source", letter.source},
                      {"line", letter.line},
                      {"reason", letter.reason},
                      {"content", letter.content},
                      {"created_us", letter.created_us}});
    }
    print({{"dead_letters", list}});
    return 0;
  }
  for (const auto& letter : letters) {
    fmt::print("{}  {}:{}: {}\n    {}\n", format_time(letter.created_us), letter.source,
               letter.line, letter.reason, shorten(letter.content, 100));
  }
  fmt::print("{} dead letters\n", letters.size());
  return 0;
}

int run_held(const DocumentsOptions& options) {
  service::Client client(client_options(options.connection));
  const auto held = client.held_documents(options.limit == 0 ? 1000 : options.limit);
  if (options.connection.json) {
    json list = json::array();
    for (const auto& [document, verdict, created_us] : held) {
      list.push_back({{"namespace", document.name_space},
                      {"id", document.id},
                      {"version", document.version},
                      {"title", document.title},
                      {"excerpt", document.text},
                      {"created_us", created_us},
                      {"selector", verdict.selector},
                      {"target_version", verdict.target_version},
                      {"score", verdict.score},
                      {"reason", verdict.reason}});
    }
    print({{"held", list}});
    return 0;
  }
  for (const auto& [document, verdict, created_us] : held) {
    fmt::print("{}  {} {} v{}: {} ({})\n    {}\n", format_time(created_us), document.name_space,
               document.id, document.version, verdict.reason, verdict.selector,
               shorten(document.text, 100));
  }
  fmt::print("{} documents held back by the gate; 'alluvium documents admit' lets one in\n",
             held.size());
  return 0;
}

int run_admit(const DocumentsOptions& options) {
  service::Client client(client_options(options.connection));
  const int64_t offset = client.admit(options.connection.name_space, options.id);
  client.flush();
  if (options.connection.json) {
    print({{"id", options.id}, {"offset", offset}});
  } else {
    fmt::print("{} answers questions now\n", options.id);
  }
  return 0;
}

using Run = int (*)(const DocumentsOptions&);

CLI::App* add_part(CLI::App& verb, const char* name, const char* description,
                   const std::shared_ptr<DocumentsOptions>& options, int& exit_code, Run run) {
  CLI::App* part = verb.add_subcommand(name, description);
  add_connection_options(*part, options->connection);
  add_namespace_option(*part, options->connection);
  part->callback([options, &exit_code, run] { exit_code = run(*options); });
  return part;
}

}  // namespace

void add_documents(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<DocumentsOptions>();
  CLI::App* verb = program.add_subcommand("documents", "List, show, delete and admit documents");
  verb->require_subcommand(1);
  CLI::App* list = add_part(*verb, "list", "Documents of a namespace, in id order", options,
                            exit_code, run_list);
  CLI::App* show = add_part(*verb, "show", "One document", options, exit_code, run_show);
  CLI::App* erase = add_part(*verb, "delete", "Delete a document with everything made from it",
                             options, exit_code, run_delete);
  CLI::App* letters = add_part(*verb, "dead-letters", "Input that could not become a document",
                               options, exit_code, run_dead_letters);
  CLI::App* held = add_part(*verb, "held", "Documents that the gate of the stream kept out",
                            options, exit_code, run_held);
  CLI::App* admit = add_part(*verb, "admit", "Let a held document in, whatever the gate says",
                             options, exit_code, run_admit);
  for (CLI::App* part : {show, erase, admit}) {
    part->add_option("id", options->id, "Id of the document")->required();
  }
  for (CLI::App* part : {list, letters, held}) {
    part->add_option("--limit", options->limit, "At most this many; 0 = all")
        ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
        ->capture_default_str();
  }
}

}  // namespace alluvium::app
