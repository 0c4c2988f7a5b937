// Everything together: a client, sockets, the engine, tiny models.
#include <optional>
#include <string>

#include "alluvium/service/client.h"
#include "alluvium/service/endpoint.h"
#include "support/catch.h"
#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::tests {
namespace {

/// A service in this process; restart() closes everything and opens it again.
struct Service {
  Service() { restart(); }
  ~Service() { close(); }

  void close() {
    if (endpoint) {
      endpoint->stop();
      endpoint.reset();
      engine.reset();
    }
  }

  void restart() {
    close();
    engine = service::Engine::start(configuration, models);
    service::EndpointConfiguration sockets = configuration.endpoint;
    sockets.port = 0;
    sockets.events_port = 0;
    endpoint.emplace(sockets, configuration.ingest);
    endpoint->start(*engine);
  }

  service::ClientOptions client() const {
    service::ClientOptions options;
    options.endpoint = endpoint->address();
    return options;
  }

  TemporaryDirectory directory;
  service::Models models = make_tiny_models(directory.path());
  service::Configuration configuration = tiny_configuration(directory.path());
  std::unique_ptr<service::Engine> engine;
  std::optional<service::Endpoint> endpoint;
};

TEST_CASE("pipeline: what a client publishes answers its questions until it is deleted",
          "[service][pipeline]") {
  Service service;
  service::Client client(service.client());
  client.put(make_document("bari", 1, "Bari", "Ferries leave Bari for Durres each night."));
  client.put(make_document("riga", 1, "Riga", "Riga has seven cranes."));
  client.drain();
  client.flush();
  CHECK(client.list_documents("default").size() == 2);

  std::string streamed;
  const service::Answer first =
      client.ask(ask_for("Which ferries leave Bari?"), [&](std::string_view piece) {
        streamed += piece;
        return true;
      });
  REQUIRE(first.citations.size() == 1);
  CHECK(first.citations[0].id == "bari");
  CHECK(first.citations[0].title == "Bari");
  CHECK(first.codec == "kv");
  CHECK(streamed == first.text);
  const service::Answer direct = service.engine->ask(ask_for("Which ferries leave Bari?"));
  CHECK(direct.text == first.text);
  CHECK_THAT(direct.log_probability, Catch::Matchers::WithinAbs(first.log_probability, 1e-9));

  client.put(make_document("bari", 2, "Bari", "The ferries from Bari stopped in May."));
  client.drain();
  client.flush();
  const service::Answer second = client.ask(ask_for("Which ferries leave Bari?"));
  CHECK(second.citations.at(0).version == 2);
  CHECK(second.log_probability != first.log_probability);

  client.erase("default", "bari", 2);
  client.drain();
  client.flush();
  CHECK_FALSE(client.find_document("default", "bari").has_value());
  const service::Answer third = client.ask(ask_for("Which ferries leave Bari?"));
  REQUIRE(third.citations.size() == 1);
  CHECK(third.citations[0].id == "riga");
}

TEST_CASE("pipeline: a restarted service gives the same answer from the stored memory",
          "[service][pipeline]") {
  Service service;
  service::Answer before;
  {
    service::Client client(service.client());
    client.put(make_document("riga", 1, "Riga", "Riga has seven cranes."));
    client.drain();
    client.flush();
    before = client.ask(ask_for("How many cranes has Riga?"));
  }
  service.restart();
  service::Client client(service.client());
  const service::Answer after = client.ask(ask_for("How many cranes has Riga?"));
  CHECK(after.codec == "kv");
  CHECK(after.text == before.text);
  CHECK(after.log_probability == before.log_probability);
}

TEST_CASE("pipeline: a question that is wrong is refused and the next is answered",
          "[service][pipeline]") {
  Service service;
  service::Client client(service.client());
  CHECK_THROWS_AS(client.ask(ask_for(std::string(20000, 'x'))), service::RequestRefused);
  CHECK_THROWS_AS(client.ask(ask_for("Why?", "zip")), service::RequestRefused);
  CHECK(client.ask(ask_for("Why?")).codec == "none");
}

}  // namespace
}  // namespace alluvium::tests
