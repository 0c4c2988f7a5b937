#include "settings.h"

#include <CLI/CLI.hpp>

#include "alluvium/core/error.h"

namespace alluvium::experiments {

void Settings::add_to(CLI::App& app) {
  app.add_option("--config", file_, "configuration file");
  app.add_option("--set", assignments_, "key=value, as in the configuration file; repeatable");
}

std::optional<int> Settings::parse(CLI::App& app, const std::vector<std::string>& arguments) {
  try {
    // CLI11 takes its arguments from the back.
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::ParseError& stop) {
    return app.exit(stop) == 0 ? 0 : 2;
  }
  return std::nullopt;
}

service::Configuration Settings::configuration() const {
  service::Configuration configuration =
      file_.empty() ? service::default_configuration() : service::load_configuration(file_);
  for (const std::string& assignment : assignments_) {
    const std::size_t equals = assignment.find('=');
    ALLUVIUM_CHECK(equals != std::string::npos, "--set takes key=value, got '{}'", assignment);
    service::set_configuration_key(configuration, assignment.substr(0, equals),
                                   assignment.substr(equals + 1));
  }
  service::validate_configuration(configuration);
  return configuration;
}

std::vector<std::string> Settings::as_arguments() const {
  std::vector<std::string> arguments;
  if (!file_.empty()) {
    arguments = {"--config", file_};
  }
  for (const std::string& assignment : assignments_) {
    arguments.insert(arguments.end(), {"--set", assignment});
  }
  return arguments;
}

}  // namespace alluvium::experiments
