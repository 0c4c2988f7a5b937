// alluvium readers: the adapters a service answers with.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "connection.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

struct ReadersOptions {
  ConnectionOptions connection;
  std::string name;
};

void print(const std::vector<service::ReaderStatus>& readers, bool as_json) {
  if (as_json) {
    nlohmann::json list = nlohmann::json::array();
    for (const service::ReaderStatus& reader : readers) {
      list.push_back({{"name", reader.name},
                      {"version", reader.version},
                      {"active", reader.active},
                      {"created", reader.created},
                      {"metrics", reader.metrics}});
    }
    fmt::print("{}\n", list.dump(2));
    return;
  }
  bool active = false;
  for (const service::ReaderStatus& reader : readers) {
    active = active || reader.active;
    fmt::print("{} {}@{}", reader.active ? "*" : " ", reader.name, reader.version);
    for (const auto& [metric, value] : reader.metrics) {
      fmt::print("  {} {:.4g}", metric, value);
    }
    fmt::print("\n");
  }
  if (!active) {
    fmt::print("no reader is active: the bare decoder answers\n");
  }
}

using Call = std::vector<service::ReaderStatus> (*)(service::Client&, const std::string&);

void add_call(CLI::App& readers, int& exit_code, const char* name, const char* purpose,
              const char* argument, bool required, Call call) {
  auto options = std::make_shared<ReadersOptions>();
  CLI::App* verb = readers.add_subcommand(name, purpose);
  if (argument != nullptr) {
    CLI::Option* option = verb->add_option(argument, options->name);
    option->required(required);
  }
  add_connection_options(*verb, options->connection);
  verb->callback([options, call, &exit_code] {
    service::Client client(client_options(options->connection));
    print(call(client, options->name), options->connection.json);
    exit_code = 0;
  });
}

}  // namespace

void add_readers(CLI::App& program, int& exit_code) {
  CLI::App* verb = program.add_subcommand(
      "readers", "List, load, unload and roll back the adapters that read memories");
  verb->require_subcommand(1);
  add_call(*verb, exit_code, "list", "Readers of the service; * marks the active one", nullptr,
           false, [](service::Client& client, const std::string&) { return client.readers(); });
  add_call(*verb, exit_code, "load",
           "Copy the adapter of a directory on the service's machine and answer with it",
           "directory", true, [](service::Client& client, const std::string& directory) {
             return client.load_reader(std::filesystem::absolute(directory).string());
           });
  add_call(*verb, exit_code, "unload", "Answer without a reader; or forget the one that is named",
           "name", false, [](service::Client& client, const std::string& name) {
             return client.unload_reader(name);
           });
  add_call(*verb, exit_code, "rollback", "Answer with the reader that was active before", nullptr,
           false,
           [](service::Client& client, const std::string&) { return client.rollback_reader(); });
}

}  // namespace alluvium::app
