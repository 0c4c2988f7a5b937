// The table of everything alluvium.toml can set.
//
// Purpose: one list drives parsing, command-line overrides, bounds, printing and error messages, so
//          that they cannot drift apart. Threads: immutable.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "alluvium/service/configuration.h"

namespace alluvium::service {

/// Where a key's value lives in a Configuration; the pointer's type is the key's type.
using ConfigurationField =
    std::variant<std::string& (*)(Configuration&), int64_t& (*)(Configuration&),
                 std::size_t& (*)(Configuration&), double& (*)(Configuration&),
                 std::vector<std::string>& (*)(Configuration&)>;

using ConfigurationValue =
    std::variant<std::string, int64_t, std::size_t, double, std::vector<std::string>>;

struct ConfigurationKey {
  std::string name;  ///< dotted: section, then field
  ConfigurationField field;
  double minimum = 0;  ///< of numbers, inclusive
  double maximum = 0;
  std::vector<std::string> words = {};  ///< of strings: those allowed; empty = any
};

/// All keys, sections together, in the order of the shipped file.
const std::vector<ConfigurationKey>& configuration_keys();

/// Null for an unknown name.
const ConfigurationKey* find_configuration_key(std::string_view name);

/// "unknown key 'endpoint.prot'; did you mean 'endpoint.port'?"
std::string describe_unknown_key(std::string_view name);

ConfigurationValue read_key(const ConfigurationKey& key, const Configuration& configuration);

/// Throws InvalidArgument naming the key, its value and the bound or the allowed words.
void check_key(const ConfigurationKey& key, const Configuration& configuration);

}  // namespace alluvium::service
