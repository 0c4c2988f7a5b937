// The configuration of a verb: a file, then flags over it.
//
// Threads: plain data.
#pragma once

#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "alluvium/service/configuration.h"

namespace alluvium::app {

struct ConfigurationOptions {
  std::string file;                   ///< empty = the built-in defaults
  std::string directory;              ///< overrides the key of the same name
  std::vector<std::string> settings;  ///< key=value, over the file
};

/// Adds --config (or ALLUVIUM_CONFIG), --directory and --set.
void add_configuration_options(CLI::App& verb, ConfigurationOptions& options);

/// Throws InvalidArgument naming the file, line and key, or the setting, that is wrong.
service::Configuration read_configuration(const ConfigurationOptions& options);

}  // namespace alluvium::app
