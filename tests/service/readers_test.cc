#include "alluvium/service/readers.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <thread>

#include <ATen/ops/empty.h>

#include "alluvium/core/error.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/service/client.h"
#include "alluvium/service/endpoint.h"
#include "reader_engine.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using service::Answer;

/// The engine behind sockets on free ports.
struct Served {
  explicit Served(ReadEngine& e) {
    e.configuration.endpoint.port = 0;
    e.configuration.endpoint.events_port = 0;
    endpoint.emplace(e.configuration.endpoint, e.configuration.ingest);
    endpoint->start(*e.engine);
    options.endpoint = endpoint->address();
  }

  std::optional<service::Endpoint> endpoint;
  service::ClientOptions options;
};

/// Every file of the instance that holds memories, by name.
std::map<std::string, std::string> memory_files(const std::string& instance) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(instance + "/memories")) {
    if (entry.is_regular_file()) {
      std::ifstream file(entry.path(), std::ios::binary);
      files[entry.path().string()] = {std::istreambuf_iterator<char>(file), {}};
    }
  }
  return files;
}

}  // namespace

TEST_CASE("readers: loaded, switched, rolled back and unloaded; each answer names its reader",
          "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  const Answer bare = e.ask();
  CHECK(bare.reader == "none");
  e.engine->readers().load(e.reader("first", 1, 1));
  const Answer first = e.ask();
  CHECK(first.reader == "first@1");
  CHECK(first.text != bare.text);
  e.engine->readers().load(e.reader("second", 1, 2));
  CHECK(e.ask().reader == "second@1");
  CHECK(e.ask("first").text == first.text);
  CHECK(e.ask("none").text == bare.text);
  e.engine->readers().rollback();
  CHECK(e.ask().reader == "first@1");
  e.engine->readers().unload("");
  CHECK(e.ask().reader == "none");
  CHECK(e.ask("first@1").text == first.text);
  e.engine->readers().unload("second");
  CHECK_THROWS_AS(e.ask("second"), InvalidArgument);
  CHECK(e.engine->readers().list().size() == 1);
}

TEST_CASE("readers: the active reader and the way back survive a restart", "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  e.engine->readers().load(e.reader("first", 1, 1));
  e.engine->readers().load(e.reader("first", 2, 2));
  const Answer before = e.ask();
  e.start();
  CHECK(e.ask().reader == "first@2");
  CHECK(e.ask().text == before.text);
  e.engine->readers().rollback();
  CHECK(e.ask().reader == "first@1");
  CHECK(e.engine->status().reader == "first@1");
}

TEST_CASE("readers: a newer version is found by the bare name", "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  e.engine->readers().load(e.reader("first", 2, 2));
  e.engine->readers().load(e.reader("first", 1, 1));
  CHECK(e.ask("first").reader == "first@2");
  CHECK(e.ask("first@1").reader == "first@1");
}

TEST_CASE("readers: no reader changes a byte of a memory or a weight of the decoder",
          "[service][readers][property]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  const auto memories = memory_files(e.configuration.directory);
  REQUIRE_FALSE(memories.empty());
  const Digest weights = e.models.decoder->hash_weights();
  const Answer bare = e.ask();
  e.engine->readers().load(e.reader("first", 1, 1));
  e.ask();
  e.engine->readers().load(e.reader("second", 1, 2));
  e.ask("first");
  e.engine->readers().unload("");
  CHECK(memory_files(e.configuration.directory) == memories);
  CHECK(e.models.decoder->hash_weights() == weights);
  CHECK(e.ask().text == bare.text);
  // Documents published while a reader is active become the same memories.
  ReadEngine other;
  other.engine->readers().load(other.reader("first", 1, 1));
  publish(*other.engine, kHarbours);
  CHECK(other.ask("none").log_probability == bare.log_probability);
}

TEST_CASE("readers: no reader acts on the rows that a blend recomputes", "[service][readers]") {
  const std::string compose = GENERATE("blend", "reuse");
  ReadEngine e;
  e.configuration.answer.recompute = 1;
  e.start();
  publish(*e.engine, kHarbours);
  const auto ask = [&](const std::string& codec) {
    service::Question question = ask_for("piers of Oslo", codec);
    question.document_ids = {"oslo", "riga"};
    question.compose = compose;
    return e.engine->ask(question);
  };
  const Answer bare = ask("text");
  e.engine->readers().load(e.reader("first", 1, 1));
  const Answer text = ask("text");
  const Answer blended = ask("kv");
  CHECK(blended.reader == "first@1");
  CHECK(std::abs(text.log_probability - bare.log_probability) > 1e-2);
  CHECK(blended.text == text.text);
  CHECK_THAT(blended.log_probability, Catch::Matchers::WithinAbs(text.log_probability, 1e-3));
}

TEST_CASE("readers: an adapter without a manifest keeps its directory's name over a restart",
          "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  const std::string plain = e.reader("plain", 1, 1);
  std::filesystem::remove(plain + "/manifest.json");
  e.engine->readers().load(plain + "/");
  CHECK(e.ask().reader == "plain-1@1");
  const Answer before = e.ask();
  e.start();
  CHECK(e.ask().reader == "plain-1@1");
  CHECK(e.ask().text == before.text);
}

TEST_CASE("readers: a new instance begins with the configured one, and can roll back to it",
          "[service][readers]") {
  ReadEngine e;
  e.engine.reset();
  e.configuration.directory += "-new";
  e.configuration.reader.initial = e.reader("mine", 1, 1);
  e.start();
  publish(*e.engine, kHarbours);
  CHECK(e.ask().reader == "mine@1");
  e.engine->readers().load(e.reader("other", 1, 2));
  e.start();
  CHECK(e.ask().reader == "other@1");
  e.engine->readers().rollback();
  CHECK(e.ask().reader == "mine@1");
  e.engine->readers().rollback();
  CHECK(e.ask().reader == "none");
  CHECK_THROWS_AS(e.engine->readers().rollback(), InvalidArgument);
}

TEST_CASE("readers: listed, loaded, asked, rolled back and unloaded over sockets",
          "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  const Served served(e);
  service::Client client(served.options);
  CHECK(client.readers().empty());
  CHECK(client.load_reader(e.reader("first", 1, 1)).size() == 1);
  const auto both = client.load_reader(e.reader("second", 2, 2));
  REQUIRE(both.size() == 2);
  CHECK(both[1].name == "second");
  CHECK(both[1].version == 2);
  CHECK(both[1].active);
  CHECK_FALSE(both[0].active);
  CHECK(both[0].metrics.at("f1") == 50);

  service::Question question = ask_for("piers of Oslo");
  const Answer active = client.ask(question);
  CHECK(active.reader == "second@2");
  CHECK(active.confidence > 0);
  question.reader = "first";
  CHECK(client.ask(question).reader == "first@1");
  question.reader = "none";
  CHECK(client.ask(question).reader == "none");
  question.reader = "nobody";
  CHECK_THROWS_WITH(client.ask(question), Catch::Contains("first@1"));

  CHECK(client.rollback_reader()[0].active);
  CHECK_FALSE(client.unload_reader("")[0].active);
  CHECK(client.unload_reader("second").size() == 1);
  CHECK_THROWS_AS(client.unload_reader("second"), service::RequestRefused);
  CHECK_THROWS_AS(client.load_reader(e.directory / "nothing"), service::RequestRefused);
  CHECK(e.engine->status().reader == "none");
}

TEST_CASE("readers: pieces reach a listener that captures much", "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  e.engine->readers().load(e.reader("first", 1, 1));
  std::string streamed;
  int64_t pieces = 0;
  double weight = 0;
  const Answer answer = e.engine->ask(ask_for("piers of Oslo"),
                                      [&streamed, &pieces, &weight, &e](std::string_view piece) {
                                        streamed += piece;
                                        ++pieces;
                                        weight += e.configuration.answer.temperature;
                                        return true;
                                      });
  CHECK(streamed == answer.text);
  CHECK(pieces > 0);
}

TEST_CASE("readers: one for another decoder is refused by name, and the active one stays",
          "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  e.engine->readers().load(e.reader("first", 1, 1));
  const TemporaryDirectory elsewhere;
  const service::Models others = make_tiny_models(elsewhere.path(), 2);
  const std::string foreign = save_reader(others, elsewhere.path(), "foreign", 1, 3);
  CHECK_THROWS_WITH(e.engine->readers().load(foreign),
                    Catch::Contains("'foreign'") && Catch::Contains("model"));
  CHECK(e.ask().reader == "first@1");
  CHECK_THROWS_AS(e.engine->readers().load(elsewhere / "nothing"), InvalidArgument);
  CHECK_THROWS_WITH(e.ask("foreign"), Catch::Contains("first@1"));
}

TEST_CASE(
    "readers: eight clients over sockets and fifty swaps, no error and every answer of one version",
    "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  const Served served(e);
  service::Client operator_client(served.options);
  const std::vector<std::string> paths = {e.reader("a", 1, 1), e.reader("b", 1, 2)};
  std::map<std::string, std::string> expected;
  for (const std::string& path : paths) {
    operator_client.load_reader(path);
    const Answer answer = e.ask();
    expected[answer.reader] = answer.text;
  }
  REQUIRE(expected.at("a@1") != expected.at("b@1"));

  std::atomic<bool> done{false};
  std::atomic<int64_t> asked{0};
  std::atomic<int64_t> of_a{0};
  std::atomic<int64_t> wrong{0};
  std::atomic<int64_t> errors{0};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      service::Client client(served.options);
      while (!done) {
        try {
          const Answer answer = client.ask(ask_for("piers of Oslo"));
          const auto found = expected.find(answer.reader);
          wrong += found == expected.end() || found->second != answer.text ? 1 : 0;
          of_a += answer.reader == "a@1" ? 1 : 0;
        } catch (const Error&) {
          ++errors;
        }
        ++asked;
      }
    });
  }
  for (int64_t swap = 0; swap < 50; ++swap) {
    operator_client.load_reader(paths[static_cast<std::size_t>(swap) % 2]);
    // Some answers between two swaps, so that either version gives some.
    for (const int64_t before = asked; asked < before + 4;) {
      std::this_thread::yield();
    }
  }
  done = true;
  clients.clear();
  CHECK(errors == 0);
  CHECK(wrong == 0);
  CHECK(of_a > 0);
  CHECK(of_a < asked);
}

TEST_CASE("readers: a stored reader that is damaged is left out and reported",
          "[service][readers]") {
  ReadEngine e;
  e.engine->readers().load(e.reader("first", 1, 1));
  const std::string stored =
      e.configuration.directory + "/adapters/first@1/adapter_model.safetensors";
  std::filesystem::resize_file(stored, std::filesystem::file_size(stored) - 1);
  e.start();
  CHECK(e.engine->status().reader == "none");
  CHECK_THAT(e.engine->status().reader_problem, Catch::Contains("first@1"));
}

TEST_CASE("readers: without documents the bare decoder answers", "[service][readers]") {
  ReadEngine e;
  e.engine->readers().load(e.reader("first", 1, 1));
  CHECK(e.ask().reader == "none");
}

TEST_CASE("readers: eight asking threads and fifty swaps, every answer of exactly one version",
          "[service][readers]") {
  ReadEngine e;
  publish(*e.engine, kHarbours);
  const std::vector<std::string> paths = {e.reader("a", 1, 1), e.reader("b", 1, 2)};
  std::map<std::string, std::string> expected;
  for (const std::string& path : paths) {
    e.engine->readers().load(path);
    const Answer answer = e.ask();
    expected[answer.reader] = answer.text;
  }
  REQUIRE(expected.size() == 2);
  REQUIRE(expected.at("a@1") != expected.at("b@1"));

  std::atomic<bool> done{false};
  std::atomic<int64_t> wrong{0};
  std::atomic<int64_t> asked{0};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      while (!done) {
        const Answer answer = e.ask();
        const auto found = expected.find(answer.reader);
        wrong += found == expected.end() || found->second != answer.text ? 1 : 0;
        ++asked;
      }
    });
  }
  for (int swap = 0; swap < 50; ++swap) {
    e.engine->readers().load(paths[static_cast<std::size_t>(swap) % 2]);
  }
  done = true;
  clients.clear();
  CHECK(wrong == 0);
  CHECK(asked > 8);
}

}  // namespace alluvium::tests
