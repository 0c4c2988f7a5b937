#include "alluvium/service/configuration.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <toml++/toml.h>

#include "alluvium/core/error.h"
#include "configuration_keys.h"
#include "default_prompt.h"

namespace alluvium::service {
namespace {

std::string place(const std::string& file, const toml::source_region& source) {
  return fmt::format("{}:{}:{}", file, source.begin.line, source.begin.column);
}

toml::table parse_toml(const std::string& text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw InvalidArgument(
        fmt::format("{}: {}", place(name, error.source()), std::string(error.description())));
  }
}

// Conversions of a TOML value to a key's type; each throws InvalidArgument with what was wanted.

void assign(std::string& target, const toml::node& node) {
  const auto* value = node.as_string();
  ALLUVIUM_CHECK(value != nullptr, "must be a string");
  target = value->get();
}

void assign(int64_t& target, const toml::node& node) {
  const auto* value = node.as_integer();
  ALLUVIUM_CHECK(value != nullptr, "must be an integer");
  target = value->get();
}

void assign(std::size_t& target, const toml::node& node) {
  const auto* value = node.as_integer();
  ALLUVIUM_CHECK(value != nullptr && value->get() >= 0, "must be an integer of 0 or more");
  target = static_cast<std::size_t>(value->get());
}

void assign(double& target, const toml::node& node) {
  ALLUVIUM_CHECK(node.is_number(), "must be a number");
  target = *node.value<double>();
}

void assign(std::vector<std::string>& target, const toml::node& node) {
  const toml::array* values = node.as_array();
  ALLUVIUM_CHECK(values != nullptr, "must be an array of strings");
  std::vector<std::string> strings;
  for (const toml::node& value : *values) {
    assign(strings.emplace_back(), value);
  }
  target = std::move(strings);
}

void set_key(Configuration& configuration, const ConfigurationKey& key, const toml::node& node) {
  try {
    std::visit([&](auto field) { assign(field(configuration), node); }, key.field);
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(fmt::format("{} {}", key.name, error.what()));
  }
  check_key(key, configuration);
}

void read_table(Configuration& configuration, const toml::table& table, const std::string& prefix,
                const std::string& file) {
  for (const auto& [field, node] : table) {
    const std::string name = prefix + std::string(field.str());
    if (node.is_table()) {
      read_table(configuration, *node.as_table(), name + ".", file);
      continue;
    }
    try {
      const ConfigurationKey* key = find_configuration_key(name);
      if (key == nullptr) {
        throw InvalidArgument(describe_unknown_key(name));
      }
      set_key(configuration, *key, node);
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(fmt::format("{}: {}", place(file, node.source()), error.what()));
    }
  }
}

/// A TOML basic string. (The library would print line breaks raw, and lose one that comes first.)
std::string quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string print_double(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

std::string print_value(const ConfigurationValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    return quote(*text);
  }
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    std::vector<std::string> quoted;
    for (const std::string& text : *list) {
      quoted.push_back(quote(text));
    }
    return fmt::format("[{}]", fmt::join(quoted, ", "));
  }
  if (const auto* real = std::get_if<double>(&value)) {
    return print_double(*real);
  }
  if (const auto* size = std::get_if<std::size_t>(&value)) {
    return fmt::format("{}", *size);
  }
  return fmt::format("{}", std::get<int64_t>(value));
}

}  // namespace

Configuration default_configuration() {
  Configuration configuration;
  configuration.prompt = default_prompt();
  configuration.codec.preset = "default";
  return configuration;
}

Configuration parse_configuration(const std::string& text, const std::string& name) {
  Configuration configuration = default_configuration();
  read_table(configuration, parse_toml(text, name), "", name);
  validate_configuration(configuration);
  return configuration;
}

Configuration load_configuration(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  ALLUVIUM_CHECK(file.good() && !std::filesystem::is_directory(path),
                 "cannot read the configuration file '{}'", path);
  return parse_configuration(text.str(), path);
}

void set_configuration_key(Configuration& configuration, const std::string& name,
                           const std::string& value) {
  const ConfigurationKey* key = find_configuration_key(name);
  if (key == nullptr) {
    throw InvalidArgument(describe_unknown_key(name));
  }
  if (std::holds_alternative<std::string& (*)(Configuration&)>(key->field)) {
    set_key(configuration, *key, toml::value<std::string>(value));
    return;
  }
  const toml::table parsed = parse_toml("value = " + value, name);
  ALLUVIUM_CHECK(parsed.size() == 1, "{}: '{}' is not one value", name, value);
  set_key(configuration, *key, *parsed.get("value"));
}

void validate_configuration(const Configuration& configuration) {
  for (const ConfigurationKey& key : configuration_keys()) {
    check_key(key, configuration);
  }
  ALLUVIUM_CHECK(configuration.endpoint.port == 0 ||
                     configuration.endpoint.port != configuration.endpoint.events_port,
                 "endpoint.port and endpoint.events_port must differ, both are {}",
                 configuration.endpoint.port);
  memory_bank::check_codec_options(configuration.codec);
}

std::string to_toml(const Configuration& configuration) {
  std::string text;
  std::string section;
  for (const ConfigurationKey& key : configuration_keys()) {
    const std::size_t dot = key.name.find('.');
    const std::string here = dot == std::string::npos ? "" : key.name.substr(0, dot);
    if (here != section) {
      text += fmt::format("\n[{}]\n", here);
      section = here;
    }
    const std::string field = dot == std::string::npos ? key.name : key.name.substr(dot + 1);
    text += fmt::format("{} = {}\n", field, print_value(read_key(key, configuration)));
  }
  return text;
}

std::string cache_directory() {
  if (const char* own = std::getenv("ALLUVIUM_CACHE"); own != nullptr && *own != '\0') {
    return own;
  }
  if (const char* shared = std::getenv("XDG_CACHE_HOME"); shared != nullptr && *shared != '\0') {
    return (std::filesystem::path(shared) / "alluvium").string();
  }
  const char* home = std::getenv("HOME");
  ALLUVIUM_CHECK(home != nullptr, "none of ALLUVIUM_CACHE, XDG_CACHE_HOME and HOME is set");
  return (std::filesystem::path(home) / ".cache/alluvium").string();
}

}  // namespace alluvium::service
