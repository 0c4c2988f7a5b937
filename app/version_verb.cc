// alluvium version
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/service/protocol.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

int run(bool json) {
  if (json) {
    fmt::print("{}\n", nlohmann::json{{"version", ALLUVIUM_VERSION},
                                      {"protocol_major", service::kProtocolMajor},
                                      {"protocol_minor", service::kProtocolMinor}}
                           .dump());
  } else {
    fmt::print("alluvium {} (wire protocol {}.{})\n", ALLUVIUM_VERSION, service::kProtocolMajor,
               service::kProtocolMinor);
  }
  return 0;
}

}  // namespace

void add_version(CLI::App& program, int& exit_code) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = program.add_subcommand("version", "Print the version");
  verb->add_flag("--json", *json, "Print one JSON object");
  verb->callback([json, &exit_code] { exit_code = run(*json); });
}

}  // namespace alluvium::app
