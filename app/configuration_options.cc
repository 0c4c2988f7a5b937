#include "configuration_options.h"

#include "alluvium/core/error.h"

namespace alluvium::app {

void add_configuration_options(CLI::App& verb, ConfigurationOptions& options) {
  verb.add_option("--config", options.file, "Configuration file; alluvium.toml lists every key")
      ->envname("ALLUVIUM_CONFIG");
  verb.add_option("--directory", options.directory,
                  "Directory of the instance: everything it keeps");
  verb.add_option("--set", options.settings, "Set any configuration key: --set endpoint.port=7500")
      ->type_name("KEY=VALUE")
      ->take_all();
}

service::Configuration read_configuration(const ConfigurationOptions& options) {
  service::Configuration configuration = options.file.empty()
                                             ? service::default_configuration()
                                             : service::load_configuration(options.file);
  for (const std::string& setting : options.settings) {
    const std::size_t equals = setting.find('=');
    ALLUVIUM_CHECK(equals != std::string::npos, "--set takes KEY=VALUE, got '{}'", setting);
    service::set_configuration_key(configuration, setting.substr(0, equals),
                                   setting.substr(equals + 1));
  }
  if (!options.directory.empty()) {
    configuration.directory = options.directory;
  }
  service::validate_configuration(configuration);
  return configuration;
}

}  // namespace alluvium::app
