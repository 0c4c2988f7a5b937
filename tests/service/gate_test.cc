// The gate of the ingest stream, from the configuration to a document that is let in by hand.
#include <algorithm>
#include <fstream>
#include <mutex>

#include "alluvium/core/error.h"
#include "alluvium/service/client.h"
#include "alluvium/service/engine.h"
#include "endpoint_fixture.h"
#include "program.h"
#include "support/catch.h"
#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::Contains;
using service::Engine;
using service::Event;

const std::string kHarbour = "The harbour has piers and cranes and ferries leave it each night.";
const std::string kOther = "Beat three eggs with sugar until the dough is white and stiff.";

/// An engine whose gate keeps out what is unlike harbours.
struct GatedEngine {
  explicit GatedEngine(const std::string& gate = "embedding") {
    configuration.streams.gate = gate;
    configuration.streams.gate_target = directory / "targets.jsonl";
    configuration.streams.gate_quantile = 0.3;
    configuration.streams.gate_warm_up = 2;
    std::ofstream(configuration.streams.gate_target)
        << "{\"text\": \"A harbour with nine piers, seven cranes and two ferries.\"}\n"
        << "{\"text\": \"Ferries leave the harbour at ten each night.\"}\n";
    start();
  }

  void start() {
    if (engine) {
      engine->stop();
    }
    engine.reset();
    engine = Engine::start(configuration, models);
    engine->on_event([this](const Event& event) {
      const std::lock_guard lock(mutex);
      events.push_back(event);
    });
  }

  void put(const std::string& id, const std::string& text, uint64_t version = 1) {
    publish(*engine, {make_document(id, version, "", text)});
  }
  bool stored(const std::string& id) { return engine->store().find("default", id).has_value(); }
  bool held(const std::string& id) {
    return engine->store().held_document("default", id).has_value();
  }

  TemporaryDirectory directory;
  service::Models models = make_tiny_models(directory.path());
  service::Configuration configuration = tiny_configuration(directory.path());
  std::mutex mutex;
  std::vector<Event> events;
  std::unique_ptr<Engine> engine;
};

}  // namespace

TEST_CASE("gate: what is unlike the targets is kept aside with its score, the rest is adapted",
          "[service][gate]") {
  GatedEngine gated(GENERATE("embedding", "zip_fit", "bm25"));
  gated.put("h1", kHarbour + " One.");
  gated.put("o1", kOther);  // the warm-up lets it through
  gated.put("h2", kHarbour + " Two and more.");
  gated.put("o2", kOther);
  gated.put("o3", kOther);
  CHECK(gated.stored("h1"));
  CHECK(gated.stored("o1"));
  CHECK(gated.held("o2"));
  CHECK_FALSE(gated.stored("o2"));
  CHECK(gated.held("o3"));
  const auto held = gated.engine->store().held_document("default", "o3");
  REQUIRE(held);
  CHECK(held->document.text == kOther);
  CHECK(held->verdict.target_version == 1);
  CHECK_THAT(held->verdict.selector, Contains(gated.configuration.streams.gate));
  CHECK_THAT(held->verdict.reason, Contains("is below"));

  const service::EngineStatus status = gated.engine->status();
  CHECK(status.store.held_documents == 2);
  CHECK(status.store.pending == 0);
  CHECK(status.gate == held->verdict.selector);
  const std::lock_guard lock(gated.mutex);
  const auto told = std::count_if(gated.events.begin(), gated.events.end(), [](const Event& event) {
    return event.kind == Event::Kind::held && !event.reason.empty();
  });
  CHECK(told == 2);
}

TEST_CASE("gate: a new version of a known document passes, and so does an ungated entry",
          "[service][gate]") {
  GatedEngine gated;
  gated.put("h1", kHarbour);
  gated.put("h2", kHarbour + " Two.");
  gated.put("h1", kOther, 2);
  CHECK(gated.engine->store().find("default", "h1")->version == 2);
  gated.put("o1", kOther);
  REQUIRE(gated.held("o1"));

  memory_bank::LogEntry entry;
  entry.document = gated.engine->store().held_document("default", "o1")->document;
  entry.gated = false;
  const int64_t offset = gated.engine->log({&entry, 1}).front();
  REQUIRE(gated.engine->wait_applied(offset, 60000));
  CHECK(gated.stored("o1"));
  CHECK_FALSE(gated.held("o1"));
}

TEST_CASE("gate: a delete takes a held document with it", "[service][gate]") {
  GatedEngine gated;
  gated.put("h1", kHarbour);
  gated.put("h2", kHarbour + " Two.");
  gated.put("o1", kOther);
  REQUIRE(gated.held("o1"));
  erase(*gated.engine, "o1", 1);
  CHECK_FALSE(gated.held("o1"));
  gated.put("o1", kOther);
  CHECK_FALSE(gated.held("o1"));
}

TEST_CASE("gate: what it learned survives a restart, unless the targets are others",
          "[service][gate]") {
  GatedEngine gated;
  gated.put("h1", kHarbour);
  gated.put("h2", kHarbour + " Two.");
  gated.start();
  gated.put("o1", kOther);  // a new gate would still warm up
  CHECK(gated.held("o1"));

  std::ofstream(gated.configuration.streams.gate_target, std::ios::app)
      << "{\"text\": \"Cranes unload the ships.\"}\n";
  gated.start();
  gated.put("o2", kOther);
  CHECK(gated.stored("o2"));
}

TEST_CASE("gate: dedupe keeps near copies out, also of what came before a restart",
          "[service][gate]") {
  GatedEngine gated("dedupe");
  const std::string text = kHarbour + " " + kOther;
  gated.put("a", text);
  gated.put("b", text);
  gated.put("c", kOther + " Then add flour, stir, and bake it for an hour or so.");
  CHECK(gated.stored("a"));
  CHECK(gated.held("b"));
  CHECK(gated.stored("c"));
  gated.start();
  gated.put("d", text);
  CHECK(gated.held("d"));
}

TEST_CASE("gate: dedupe keeps out what means the same where embeddings are asked for",
          "[service][gate]") {
  GatedEngine gated("dedupe");
  gated.configuration.streams.gate_dedupe_semantic = 0.5;
  gated.configuration.streams.gate_dedupe_capacity = 2;
  gated.start();
  gated.put("a", kHarbour);
  gated.put("b", "Each night it has cranes and piers and ferries leave the harbour.");
  CHECK(gated.stored("a"));
  CHECK(gated.held("b"));
  CHECK_THAT(gated.engine->store().held_document("default", "b")->verdict.reason,
             Contains("means what a does"));
  gated.start();
  gated.put("c", "Cranes and piers and ferries each night the harbour has; leave it.");
  CHECK(gated.held("c"));
}

TEST_CASE("gate: targets that are missing are named with their key", "[service][gate]") {
  const TemporaryDirectory directory;
  service::Configuration configuration = tiny_configuration(directory.path());
  const service::Models models = make_tiny_models(directory.path());
  configuration.streams.gate = "zip_fit";
  CHECK_THROWS_WITH(Engine::start(configuration, models),
                    Contains("streams.gate_target is needed"));
  configuration.streams.gate_target = directory / "nowhere.jsonl";
  CHECK_THROWS_WITH(Engine::start(configuration, models),
                    Contains("streams.gate_target") && Contains("nowhere.jsonl"));
  CHECK_THROWS_WITH(service::set_configuration_key(configuration, "streams.gate", "zipfit"),
                    Contains("streams.gate must be one of"));
}

TEST_CASE("gate: held documents are listed, let in and deleted over the wire",
          "[service][gate][endpoint]") {
  ServedEngine served;
  const std::string address = served.endpoint->address();
  memory_bank::LogEntry entry;
  for (const char* id : {"a", "b"}) {
    entry.document = make_document(id, 3, "Title", std::string(999, 'x') + "ü" + kOther);
    served.engine.store().hold_back(entry, {"zip_fit/ref gzip-6", 2, 0.125, "score is low"});
  }

  service::ClientOptions options;
  options.endpoint = address;
  service::Client client(options);
  const auto held = client.held_documents();
  REQUIRE(held.size() == 2);
  CHECK(held[0].document.id == "b");
  CHECK(held[0].document.text == std::string(999, 'x'));
  CHECK(held[0].verdict.score == 0.125);
  CHECK(held[0].verdict.target_version == 2);
  CHECK(client.held_documents(1).size() == 1);
  CHECK(client.held_document("default", "a")->verdict.reason == "score is low");
  CHECK(!client.held_document("default", "nobody"));

  CHECK(client.admit("default", "a") > 0);
  client.flush();
  CHECK(client.find_document("default", "a")->document.text.size() > 1000);
  CHECK(!client.held_document("default", "a"));
  CHECK_THROWS_WITH(client.admit("default", "a"), Contains("is held"));

  const ProgramResult listed = run_program({"documents", "held", "--endpoint", address});
  CHECK(listed.exit_code == 0);
  CHECK_THAT(listed.out, Contains("score is low") && Contains("1 documents held back"));
  const ProgramResult deleted = run_program({"documents", "delete", "b", "--endpoint", address});
  CHECK(deleted.exit_code == 0);
  CHECK(client.held_documents().empty());
  CHECK(run_program({"documents", "admit", "b", "--endpoint", address}).exit_code == 1);
}

}  // namespace alluvium::tests
