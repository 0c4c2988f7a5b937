// The program's verbs, as a person or a script meets them.
#include "program.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "endpoint_fixture.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

/// Arguments that make `serve` start without the default decoder. Nothing when the default encoder is not installed.
std::optional<std::vector<std::string>> serve_arguments(const TemporaryDirectory& directory) {
  const auto encoder = default_encoder_path();
  if (!encoder) {
    WARN("skipped: the default encoder is not installed");
    return std::nullopt;
  }
  return std::vector<std::string>{
      "--directory", directory / "instance",
      "--set",       "models.decoder=" + write_tiny_llama_gguf(directory.path(), 1),
      "--set",       "models.encoder=" + *encoder,
      "--set",       "models.dtype=f32",
      "--set",       "models.device=cpu",
      "--set",       "prompt.prefix=<|endoftext|>Read. ",
      "--set",       "prompt.document={title}: {text}\n",
      "--set",       "prompt.max_chunk_tokens=96",
      "--set",       "answer.max_tokens=4"};
}

TEST_CASE("program: every verb explains itself and exits 0", "[service][program]") {
  for (const char* verb : {"serve", "publish", "ask", "documents", "status", "doctor", "version"}) {
    CAPTURE(verb);
    const ProgramResult help = run_program({verb, "--help"});
    CHECK(help.exit_code == 0);
    CHECK_THAT(help.out, Contains("--help"));
  }
  CHECK_THAT(run_program({"--help"}).out, Contains("publish") && Contains("bench"));
  CHECK_THAT(run_program({"version"}).out, Contains("alluvium 0."));
  CHECK(json::parse(run_program({"version", "--json"}).out).at("protocol_major") == 1);
}

TEST_CASE("program: a wrong command line exits 2 and says what is wrong", "[service][program]") {
  CHECK(run_program({}).exit_code == 2);
  const ProgramResult unknown = run_program({"serv"});
  CHECK(unknown.exit_code == 2);
  CHECK_THAT(unknown.err, Contains("'serv'") && Contains("serve, publish, ask"));
  CHECK(run_program({"ask"}).exit_code == 2);
  CHECK(run_program({"ask", "what", "--codec", "zip"}).exit_code == 2);
  const ProgramResult result = run_program({"publish", "x", "--limit", "-3"});
  CHECK(result.exit_code == 2);
  CHECK_THAT(result.err, Contains("--limit"));
}

TEST_CASE("program: without a service, publish and ask exit 1 and say how to start one",
          "[service][program]") {
  std::string address;
  {
    const ServedEngine served;
    address = served.endpoint->address();
  }
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"ask", "what"}, {"publish", "-"}, {"status"}}) {
    std::vector<std::string> arguments = verb;
    arguments.insert(arguments.end(), {"--endpoint", address, "--connect-timeout", "100"});
    const ProgramResult result = run_program(arguments);
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.err,
               Contains("no service answers at " + address) && Contains("alluvium serve"));
  }
}

TEST_CASE("program: publish sends what is good, keeps what is bad as dead letters, and exits 1",
          "[service][program]") {
  ServedEngine served;
  const std::string address = served.endpoint->address();
  const std::string lines =
      "{\"id\": \"a\", \"text\": \"First.\", \"title\": \"A\"}\n"
      "{\"id\": \"b\"}\n"
      "not json\n"
      "{\"id\": \"c\", \"text\": \"Third.\"}\n";
  const ProgramResult result =
      run_program({"publish", "-", "--endpoint", address, "--wait", "--json"}, lines);
  CHECK(result.exit_code == 1);
  const json summary = json::parse(result.out);
  CHECK(summary.at("accepted") == 2);
  CHECK(summary.at("bad_lines") == 2);
  CHECK(summary.at("adapted") == true);
  CHECK(summary.at("problems").at(0).at("line") == 2);
  CHECK(served.engine.store().dead_letters(10).size() == 2);

  CHECK(run_program({"publish", "-", "--endpoint", address, "--namespace", "other"},
                    "{\"id\": \"a\", \"text\": \"Elsewhere.\"}\n")
            .exit_code == 0);
  const json listed =
      json::parse(run_program({"documents", "list", "--endpoint", address, "--json"}).out);
  CHECK(listed.at("documents").size() == 2);
  const json shown =
      json::parse(run_program({"documents", "show", "a", "--endpoint", address, "--json"}).out);
  CHECK(shown.at("text") == "First.");
  CHECK(run_program({"documents", "delete", "a", "--endpoint", address}).exit_code == 0);
  const ProgramResult gone = run_program({"documents", "show", "a", "--endpoint", address});
  CHECK(gone.exit_code == 1);
  CHECK_THAT(gone.err, Contains("no document 'a'"));
  CHECK_THAT(run_program({"documents", "dead-letters", "--endpoint", address}).out,
             Contains("2 dead letters"));
}

TEST_CASE("program: ask prints answer, citations and times, for people and for programs",
          "[service][program]") {
  ServedEngine served;
  const std::string address = served.endpoint->address();
  const ProgramResult plain = run_program({"ask", "how deep is it", "--endpoint", address});
  CHECK(plain.exit_code == 0);
  CHECK_THAT(plain.out, Catch::Matchers::StartsWith("how deep is it\n"));
  CHECK_THAT(plain.out, Contains("doc \"1\"") && Contains("75 %") && Contains("first token"));
  const json object = json::parse(
      run_program({"ask", "how deep", "--endpoint", address, "--codec", "text", "--json"}).out);
  CHECK(object.at("answer") == "how deep");
  CHECK(object.at("codec") == "text");
  CHECK(object.at("citations").at(0).at("weight") == 0.75);
  CHECK_THAT(run_program({"ask", "x", "--endpoint", address, "--as-of", "yesterday"}).err,
             Contains("not a date"));
}

TEST_CASE("program: serve refuses what cannot work, each with one clear line",
          "[service][program]") {
  const TemporaryDirectory directory;
  const auto refusal = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "serve");
    const ProgramResult result = run_program(arguments);
    CHECK(result.exit_code == 1);
    return result.err;
  };
  CHECK_THAT(refusal({"--set", "endpoint.address=0.0.0.0"}), Contains("loopback"));
  CHECK_THAT(refusal({"--set", "endpoint.prot=1"}), Contains("did you mean 'endpoint.port'?"));
  CHECK_THAT(refusal({"--config", directory / "none.toml"}), Contains("none.toml"));
  const ServedEngine served;
  const std::string address = served.endpoint->address();
  CHECK_THAT(refusal({"--directory", directory / "x", "--events-port", "0", "--port",
                      address.substr(address.rfind(':') + 1)}),
             Contains(address) && Contains("in use"));
  CHECK_THAT(refusal({"--directory", directory / "x", "--port", "0", "--events-port", "0", "--set",
                      "models.decoder=" + (directory / "none.gguf")}),
             Contains("none.gguf"));
}

TEST_CASE("program: serve starts, refuses a second one on its directory, and stops on SIGTERM",
          "[service][program][slow]") {
  const TemporaryDirectory directory;
  const auto arguments = serve_arguments(directory);
  if (!arguments) {
    return;
  }
  ServeProcess server(*arguments);
  REQUIRE(!server.endpoint().empty());
  const ProgramResult published =
      run_program({"publish", "-", "--endpoint", server.endpoint(), "--wait"},
                  "{\"id\": \"a\", \"title\": \"T\", \"text\": \"alpha beta gamma\"}\n");
  CHECK(published.exit_code == 0);
  const json answer =
      json::parse(run_program({"ask", "alpha", "--endpoint", server.endpoint(), "--json"}).out);
  CHECK(answer.at("citations").at(0).at("id") == "a");

  std::vector<std::string> second = {"serve", "--port", "0", "--events-port", "0"};
  second.insert(second.end(), arguments->begin(), arguments->end());
  const ProgramResult refused = run_program(second);
  CHECK(refused.exit_code == 1);
  CHECK_THAT(refused.err, Contains("alluvium: "));

  CHECK(server.stop(SIGTERM) == 0);
  ServeProcess again(*arguments);
  REQUIRE(!again.endpoint().empty());
  const json status =
      json::parse(run_program({"status", "--endpoint", again.endpoint(), "--json"}).out);
  CHECK(status.at("documents") == 1);
  CHECK(again.stop(SIGINT) == 0);
}

TEST_CASE("program: doctor finds what is wrong and says what to do", "[service][program]") {
  const TemporaryDirectory directory;
  const ProgramResult result =
      run_program({"doctor", "--json", "--directory", directory / "instance", "--set",
                   "models.decoder=" + (directory / "none.gguf"), "--set", "endpoint.port=0",
                   "--set", "endpoint.events_port=0"});
  CHECK(result.exit_code == 1);
  const json report = json::parse(result.out);
  CHECK(report.at("healthy") == false);
  for (const json& check : report.at("checks")) {
    CAPTURE(check.dump());
    CHECK((check.at("state") == "good") == check.at("advice").get<std::string>().empty());
    if (check.at("name") == "decoder") {
      CHECK(check.at("state") == "bad");
      CHECK_THAT(check.at("advice").get<std::string>(), Contains("models.decoder"));
    }
  }
}

}  // namespace
}  // namespace alluvium::tests
