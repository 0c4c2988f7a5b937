// alluvium doctor: is everything there, and what to do when it is not.
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "configuration_options.h"
#include "doctor_checks.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

struct DoctorOptions {
  ConfigurationOptions configuration;
  bool json = false;
};

using CheckFunction = Check (*)(const service::Configuration&);

std::vector<Check> examine(const ConfigurationOptions& options) {
  service::Configuration configuration;
  try {
    configuration = read_configuration(options);
  } catch (const Error& error) {
    return {{"configuration", CheckState::bad, error.what(), "correct the file or the setting"}};
  }
  std::vector<Check> checks = {{"configuration", CheckState::good,
                                options.file.empty() ? "built-in defaults" : options.file, ""}};
  for (const CheckFunction check : {check_decoder, check_encoder, check_device, check_directory,
                                    check_disk, check_ports, check_store}) {
    checks.push_back(check(configuration));
  }
  return checks;
}

int run(const DoctorOptions& options) {
  const std::vector<Check> checks = examine(options.configuration);
  nlohmann::json list = nlohmann::json::array();
  bool healthy = true;
  for (const Check& check : checks) {
    healthy = healthy && check.state != CheckState::bad;
    list.push_back({{"name", check.name},
                    {"state", to_string(check.state)},
                    {"finding", check.finding},
                    {"advice", check.advice}});
    if (!options.json) {
      fmt::print("{:<8} {:<14} {}\n", to_string(check.state), check.name, check.finding);
      if (!check.advice.empty()) {
        fmt::print("{:<24}-> {}\n", "", check.advice);
      }
    }
  }
  if (options.json) {
    const nlohmann::json object = {{"healthy", healthy}, {"checks", list}};
    fmt::print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return healthy ? 0 : 1;
}

}  // namespace

void add_doctor(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* verb = program.add_subcommand("doctor", "Check models, device, disk, ports and store");
  add_configuration_options(*verb, options->configuration);
  verb->add_flag("--json", options->json, "Print one JSON object");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace alluvium::app
