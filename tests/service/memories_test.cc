// Memories stored in another size, checked and healed while the service answers.
#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_family.h"
#include "alluvium/service/client.h"
#include "alluvium/service/endpoint.h"
#include "support/catch.h"
#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::tests {
namespace {

constexpr int64_t kDocuments = 24;

std::string long_text(int64_t i) {
  std::string text;
  for (int word = 0; word < 10; ++word) {
    text += "crane" + std::to_string(i * 7 + word) + " ";
  }
  return text;
}

/// A running service over sockets, with documents.
struct Service {
  TemporaryDirectory directory;
  service::Configuration configuration = tiny_configuration(directory.path());
  service::Models models = make_tiny_models(directory.path());
  std::unique_ptr<service::Engine> engine;
  std::unique_ptr<service::Endpoint> endpoint;

  Service() {
    configuration.endpoint.port = 0;
    configuration.endpoint.events_port = 0;
    configuration.codec.preset = "safe";
    start();
    std::vector<Document> documents;
    for (int64_t i = 0; i < kDocuments; ++i) {
      documents.push_back(make_document("d" + std::to_string(i), 1, "Riga", long_text(i)));
    }
    publish(*engine, documents);
  }
  ~Service() { stop(); }

  void start() {
    engine = service::Engine::start(configuration, models);
    endpoint = std::make_unique<service::Endpoint>(configuration.endpoint, configuration.ingest);
    endpoint->start(*engine);
  }
  void stop() {
    if (endpoint) {
      endpoint->stop();
    }
    endpoint.reset();
    engine.reset();
  }
  service::ClientOptions client() const {
    service::ClientOptions options;
    options.endpoint = endpoint->address();
    return options;
  }
};

nlohmann::json memories_of(service::Client& client) {
  return nlohmann::json::parse(client.memories());
}

TEST_CASE("memories: recompressed while questions are asked, every answer from a memory",
          "[service][memories]") {
  Service service;
  service::Client client(service.client());
  const auto before = memories_of(client);
  CHECK(before.at("presets").at("safe").at("memories") == kDocuments);
  CHECK(before.at("waiting") == 0);

  std::atomic<bool> done{false};
  std::atomic<int64_t> answers{0};
  std::atomic<int64_t> wrong{0};
  std::thread asking([&] {
    service::Client other(service.client());
    for (int64_t i = 0; !done || i < kDocuments; ++i) {
      service::Question question = ask_for("Where is it?");
      question.document_ids = {"d" + std::to_string(i % kDocuments)};
      const service::Answer answer = other.ask(question);
      ++answers;
      wrong += answer.codec == "kv" && answer.note.empty() && !answer.text.empty() ? 0 : 1;
    }
  });
  const auto at_once = nlohmann::json::parse(client.recompress_memories("tiny"));
  CHECK(at_once.at("preset") == "tiny");
  wait_remade(*service.engine);
  done = true;
  asking.join();

  CHECK(wrong == 0);
  CHECK(answers >= kDocuments);
  const auto after = memories_of(client);
  CHECK(after.at("presets").size() == 1);
  CHECK(after.at("presets").at("tiny").at("memories") == kDocuments);
  CHECK(after.at("waiting") == 0);
  CHECK(after.at("bytes").get<int64_t>() < before.at("bytes").get<int64_t>());
  // The old records lay in one file that is dead now: its bytes are gone already.
  CHECK(after.at("segment_bytes").get<int64_t>() < before.at("segment_bytes").get<int64_t>());
  const auto compacted = nlohmann::json::parse(client.compact_memories());
  CHECK(compacted.at("segment_bytes").get<int64_t>() <
        compacted.at("bytes").get<int64_t>() + 64 * (kDocuments + 1));
  CHECK(service.engine->store().verify().empty());
}

TEST_CASE("memories: the preset chosen holds over a restart until the configuration changes",
          "[service][memories]") {
  Service service;
  service.engine->recompress("compact");
  wait_remade(*service.engine);
  service.stop();
  service.start();
  wait_remade(*service.engine);
  CHECK(service.engine->memories().preset == "compact");
  CHECK(service.engine->memories().statistics.waiting == 0);
  publish(*service.engine, {make_document("new", 1, "Riga", long_text(99))});
  CHECK(service.engine->memories().statistics.kinds.at(0).memories == kDocuments + 1);

  service.stop();
  service.configuration.codec.preset = "lossless";
  service.start();
  CHECK(service.engine->memories().preset == "lossless");
  wait_remade(*service.engine);
  const auto kinds = service.engine->memories().statistics.kinds;
  REQUIRE(kinds.size() == 1);
  CHECK(kinds[0].preset == "lossless");
}

TEST_CASE("memories: what cannot be recompressed is refused by name", "[service][memories]") {
  Service service;
  service::Client client(service.client());
  CHECK_THROWS_WITH(client.recompress_memories("huge"), Catch::Contains("lossless, safe"));
  CHECK_THROWS_AS(client.recompress_memories(""), service::RequestRefused);
  CHECK(memories_of(client).at("preset") == "safe");
  service.stop();
  service.configuration.answer.codec = "text";
  service.start();
  CHECK_THROWS_AS(service.engine->recompress("tiny"), NotSupported);
}

TEST_CASE("memories: a damaged record is found over sockets and healed from the text",
          "[service][memories]") {
  Service service;
  service::Client client(service.client());
  CHECK(client.verify_memories().empty());
  damage_first_record(service.configuration);
  const auto findings = client.verify_memories();
  REQUIRE(findings.size() == 1);
  CHECK_THAT(findings[0], Catch::Contains("000001.seg"));
  wait_remade(*service.engine);
  CHECK(client.verify_memories().empty());
  CHECK(memories_of(client).at("memories") == kDocuments);
}

// The slots attended to, and the memories loaded, are those of one chunk: neither grows with the document.
TEST_CASE("memories: a document of 50,000 tokens is answered from the chunk that speaks of it",
          "[service][memories]") {
  Service service;
  int64_t longest = 0;
  for (const int64_t sentences : {40, 4000}) {
    std::string text;
    for (int64_t i = 0; i < sentences; ++i) {
      text += i == sentences * 3 / 4 ? "The walrus sleeps in Tromso. "
                                     : "Nothing is said here of number " + std::to_string(i) + ". ";
    }
    const std::string id = "long" + std::to_string(sentences);
    publish(*service.engine, {make_document(id, 1, "", text)});
    wait_remade(*service.engine);
    const auto summary = service.engine->store().find("default", id);
    longest = summary->tokens;
    CHECK(service.engine->memories().statistics.waiting == 0);
    const auto before = service.engine->status().cache.entries;
    service::Question question = ask_for("Where does the walrus sleep?");
    question.document_ids = {id};
    const service::Answer answer = service.engine->ask(question);
    CHECK(answer.codec == "kv");
    CHECK(answer.note.empty());
    CHECK(service.engine->status().cache.entries == before + 1);
    CHECK(answer.memory_slots <= service.engine->codec("none").to_prefix({}, 1).slots() +
                                     service.configuration.prompt.max_chunk_tokens);
    const auto chunks = service.engine->store().chunks(summary->row);
    int64_t with_walrus = 0;
    for (const auto& chunk : chunks) {
      const std::string part = text.substr(chunk.chunk.begin, chunk.chunk.end - chunk.chunk.begin);
      const bool here = part.find("walrus") != std::string::npos;
      with_walrus += here ? 1 : 0;
      if (here) {
        CHECK(answer.memory_slots == service.engine->codec("none").to_prefix({}, 1).slots() +
                                         static_cast<int64_t>(chunk.chunk.tokens.size()));
      }
    }
    CHECK(with_walrus == 1);
  }
  CHECK(longest >= 50000);
}

TEST_CASE("memories: the chunks that lose most are stored richer", "[service][memories]") {
  Service service;
  service.stop();
  service.configuration.codec.preset = "tiny";
  service.configuration.codec.richer_share = 0.25;
  service.configuration.directory += "-gated";
  service.start();
  std::vector<Document> documents;
  for (int64_t i = 0; i < 80; ++i) {
    documents.push_back(make_document("d" + std::to_string(i), 1, "Riga", long_text(i)));
  }
  publish(*service.engine, documents);
  const auto statistics = service.engine->memories().statistics;
  int64_t richer = 0;
  for (const auto& kind : statistics.kinds) {
    richer += kind.richer;
    CHECK((kind.preset == "tiny" || kind.preset == "compact"));
    CHECK(kind.richer == (kind.preset == "compact" ? kind.memories : 0));
  }
  CHECK(statistics.quality_gaps.size() == 80);
  CHECK(richer > 0);
  CHECK(richer < 40);
  CHECK(statistics.waiting == 0);  // made for tiny, though not as tiny
  const service::Answer answer = service.engine->ask(ask_for("cranes"));
  CHECK(answer.codec == "kv");
  CHECK(answer.note.empty());
}

}  // namespace
}  // namespace alluvium::tests
