#include "alluvium/service/configuration.h"

#include <fstream>
#include <regex>
#include <set>
#include <string>

#include "alluvium/core/error.h"
#include "configuration_keys.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::service {
namespace {

using Catch::Matchers::Contains;

std::string shipped_path() { return tests::oracle_directory() + "/../../alluvium.toml"; }

/// Dotted names of the keys a TOML file sets, one "key = " a line.
std::set<std::string> keys_in(const std::string& path) {
  static const std::regex kSection(R"(^\[([a-z_]+)\]$)");
  static const std::regex kKey(R"(^([a-z_]+) = .*)");
  std::ifstream file(path);
  std::set<std::string> keys;
  std::string section;
  std::smatch match;
  for (std::string line; std::getline(file, line);) {
    if (std::regex_match(line, match, kSection)) {
      section = match[1].str() + ".";
    } else if (std::regex_match(line, match, kKey)) {
      keys.insert(section + match[1].str());
    }
  }
  return keys;
}

TEST_CASE("configuration: the shipped file names every key, no other, each with its default",
          "[service][configuration]") {
  std::set<std::string> known;
  for (const ConfigurationKey& key : configuration_keys()) {
    known.insert(key.name);
  }
  CHECK(keys_in(shipped_path()) == known);
  CHECK(to_toml(load_configuration(shipped_path())) == to_toml(default_configuration()));
}

TEST_CASE("configuration: what is printed reads back the same", "[service][configuration]") {
  Configuration configuration = default_configuration();
  configuration.directory = "a \"quoted\" 'path' \\ with ünicode";
  configuration.prompt.prefix = "line\n\ttab\n";
  configuration.prompt.stop = {"\n", "a, b", ""};
  configuration.answer.temperature = 0.7;
  configuration.cache_bytes = 12345;
  const std::string text = to_toml(configuration);
  CHECK(to_toml(parse_configuration(text, "printed")) == text);
}

TEST_CASE("configuration: a mistake is named with file, line and what would be right",
          "[service][configuration]") {
  const auto parse = [](const std::string& text) { return parse_configuration(text, "my.toml"); };
  CHECK_THROWS_WITH(parse("\n[endpoint]\nprot = 1\n"),
                    Contains("my.toml:3:") && Contains("unknown key 'endpoint.prot'") &&
                        Contains("did you mean 'endpoint.port'?"));
  CHECK_THROWS_WITH(parse("port = 7400"), Contains("did you mean 'endpoint.port'?"));
  CHECK_THROWS_WITH(parse("entirely_unrelated_words = 1"), Contains("lists every key"));
  CHECK_THROWS_WITH(parse("[endpoint]\nport = \"7400\""),
                    Contains("my.toml:2:") && Contains("endpoint.port must be an integer"));
  CHECK_THROWS_WITH(parse("[endpoint]\nport = 70000"),
                    Contains("endpoint.port must lie in [0, 65535], got 70000"));
  CHECK_THROWS_WITH(parse("[answer]\ncodec = \"zip\""), Contains("must be one of none, text, kv"));
  CHECK_THROWS_WITH(parse("cache_bytes = -1"), Contains("0 or more"));
  CHECK_THROWS_WITH(parse("[prompt]\nstop = [1]"), Contains("prompt.stop must be a string"));
  CHECK_THROWS_WITH(parse("[answer]\ntemperature = nan"), Contains("answer.temperature"));
  CHECK_THROWS_WITH(parse("[codec]\nkey_bits = 5"), Contains("codec.key_bits must be 0"));
  CHECK_THROWS_WITH(parse("[codec]\npreset = \"big\""),
                    Contains("lossless, safe, default, compact"));
  CHECK_THROWS_WITH(parse("[codec]\nentropy = \"gzip\""), Contains("none, zstd, rans"));
  CHECK_THROWS_WITH(parse("[codec]\nresidual_rank = 300"), Contains("codec.residual_rank"));
  CHECK_THROWS_WITH(parse("[codec]\nkey_bits = 16"), Contains("they come to 16 and 4"));
  CHECK_THROWS_WITH(parse("directory = "), Contains("my.toml:1:"));
  CHECK_THROWS_WITH(parse("[endpoint]\nport = 7500\nevents_port = 7500"), Contains("must differ"));
  CHECK_THROWS_WITH(load_configuration("does-not-exist.toml"), Contains("does-not-exist.toml"));
}

TEST_CASE("configuration: only loopback addresses are accepted", "[service][configuration]") {
  Configuration configuration = default_configuration();
  for (const char* good : {"127.0.0.1", "127.5.5.5", "localhost", "::1"}) {
    CHECK_NOTHROW(set_configuration_key(configuration, "endpoint.address", good));
  }
  for (const char* bad :
       {"0.0.0.0", "192.168.1.4", "::", "*", "eth0", "", "127.0.0.1.evil.example"}) {
    CAPTURE(bad);
    CHECK_THROWS_WITH(set_configuration_key(configuration, "endpoint.address", bad),
                      Contains("loopback"));
  }
}

TEST_CASE("configuration: one key can be set by its name, whatever its type",
          "[service][configuration]") {
  Configuration configuration = default_configuration();
  set_configuration_key(configuration, "endpoint.port", "0");
  set_configuration_key(configuration, "answer.temperature", "0.5");
  set_configuration_key(configuration, "models.decoder", "some/file.gguf");
  set_configuration_key(configuration, "prompt.stop", R"(["a", "\n"])");
  set_configuration_key(configuration, "cache_bytes", "0");
  CHECK(configuration.endpoint.port == 0);
  CHECK(configuration.answer.temperature == 0.5);
  CHECK(configuration.models.decoder == "some/file.gguf");
  CHECK(configuration.prompt.stop == std::vector<std::string>{"a", "\n"});
  CHECK(configuration.cache_bytes == 0);
  CHECK_THROWS_WITH(set_configuration_key(configuration, "endpoint.port", "seven"),
                    Contains("endpoint.port"));
  CHECK_THROWS_AS(set_configuration_key(configuration, "endpoint.port", "1\ndirectory = 2"),
                  InvalidArgument);
  CHECK_THROWS_WITH(set_configuration_key(configuration, "endpoint.ports", "1"),
                    Contains("did you mean 'endpoint.port'?"));
}

}  // namespace
}  // namespace alluvium::service
