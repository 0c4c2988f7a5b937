#include "alluvium/service/client.h"

#include <map>
#include <set>
#include <string>
#include <thread>

#include "alluvium/core/error.h"
#include "endpoint_fixture.h"

namespace alluvium::service {
namespace {

using Catch::Matchers::Contains;
using tests::ServedEngine;
using tests::simple_document;

ClientOptions options_for(const ServedEngine& served) {
  ClientOptions options;
  options.endpoint = served.endpoint->address();
  return options;
}

TEST_CASE("client: without a service every call says so, and how to start one",
          "[service][client]") {
  std::string free_address;
  {
    const ServedEngine served;
    free_address = served.endpoint->address();
  }
  ClientOptions options;
  options.endpoint = free_address;
  options.connect_timeout_ms = 50;
  Client client(options);
  CHECK_THROWS_WITH(client.connect(), Contains("no service answers at " + free_address) &&
                                          Contains("alluvium serve"));
  CHECK_THROWS_AS(client.put(simple_document("a")), Unavailable);
  CHECK_THROWS_AS(client.status(), Unavailable);
  options.endpoint = "not an address";
  CHECK_THROWS_AS(Client(options), InvalidArgument);
}

TEST_CASE("client: each document gets exactly one result, through a small window",
          "[service][client]") {
  ServedEngine served([](Configuration& configuration) {
    configuration.endpoint.credit_messages = 8;
    configuration.endpoint.credit_bytes = 2000;
  });
  Client client(options_for(served));
  std::map<uint64_t, int> results;
  client.on_result([&](const PublishResult& result) {
    CHECK(result.accepted);
    ++results[result.sequence];
  });
  constexpr int kDocuments = 500;
  std::set<uint64_t> sequences;
  for (int i = 0; i < kDocuments; ++i) {
    sequences.insert(client.put(simple_document(std::to_string(i))));
  }
  client.drain();
  CHECK(sequences.size() == kDocuments);
  REQUIRE(results.size() == kDocuments);
  for (const auto& [sequence, count] : results) {
    REQUIRE(count == 1);
    REQUIRE(sequences.count(sequence) == 1);
  }
  CHECK(served.engine.store().counts({}).documents == kDocuments);
}

TEST_CASE("client: a refusal names the document and does not stop the others",
          "[service][client]") {
  ServedEngine served(
      [](Configuration& configuration) { configuration.ingest.limits.text_bytes = 100; });
  Client client(options_for(served));
  std::vector<PublishResult> refused;
  int accepted = 0;
  client.on_result([&](const PublishResult& result) {
    accepted += result.accepted ? 1 : 0;
    if (!result.accepted) {
      refused.push_back(result);
    }
  });
  client.put(simple_document("a"));
  const uint64_t large = client.put(simple_document("b", 1, std::string(200, 'x')));
  client.put(simple_document("c"));
  client.drain();
  CHECK(accepted == 2);
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].sequence == large);
  CHECK(refused[0].code == WireError::too_large);
  CHECK_THROWS_AS(client.put(simple_document("", 1)), InvalidArgument);
}

TEST_CASE("client: publishing rides out restarts of the service, and nothing is lost or doubled",
          "[service][client][stream]") {
  ServedEngine served;
  // The clients keep their address: the restarted endpoint must have the same port.
  const std::string address = served.endpoint->address();
  served.configuration.endpoint.port = std::stoi(address.substr(address.rfind(':') + 1));
  int accepted = 0;
  std::thread publisher([&] {
    Client client(options_for(served));
    client.on_result([&](const PublishResult& result) { accepted += result.accepted ? 1 : 0; });
    for (int i = 0; i < 3000; ++i) {
      client.put(simple_document(std::to_string(i)));
    }
    client.drain();
  });
  for (int restart = 0; restart < 3; ++restart) {
    while (served.engine.log_calls < 2 * (restart + 1)) {
      std::this_thread::yield();
    }
    served.endpoint.reset();
    served.restart();
  }
  publisher.join();
  CHECK(accepted == 3000);
  const memory_bank::StoreCounts counts = served.engine.store().counts({});
  CHECK(counts.documents == 3000);
  CHECK(counts.logged_offset == 3000);
}

TEST_CASE("client: a session opened twice keeps its credit in step with the service",
          "[service][client]") {
  ServedEngine served(
      [](Configuration& configuration) { configuration.endpoint.credit_messages = 4; });
  const std::string address = served.endpoint->address();
  served.configuration.endpoint.port = std::stoi(address.substr(address.rfind(':') + 1));
  Client client(options_for(served));
  client.put(simple_document("first"));
  client.drain();
  // Each round meets a new start of the service; what the client believes to have must be what the service gave.
  for (int round = 0; round < 3; ++round) {
    served.endpoint.reset();
    served.restart();
    for (int i = 0; i < 20; ++i) {
      client.put(simple_document(std::to_string(round) + "-" + std::to_string(i)));
    }
    client.drain();
  }
  CHECK(served.engine.store().counts({}).documents == 61);
}

TEST_CASE("client: a session given by name goes on where it stopped", "[service][client]") {
  ServedEngine served;
  ClientOptions options = options_for(served);
  options.session = std::string(kSessionBytes, 'd');
  uint64_t last = 0;
  {
    Client client(options);
    client.put(simple_document("a"));
    last = client.put(simple_document("b"));
    client.drain();
  }
  Client client(options);
  CHECK(client.put(simple_document("c")) == last + 1);
  options.session = "short";
  CHECK_THROWS_AS(Client(options), InvalidArgument);
}

TEST_CASE("client: flush returns when documents are applied, or says that the time is over",
          "[service][client]") {
  ServedEngine served;
  served.engine.apply = false;
  Client client(options_for(served));
  client.put(simple_document("a"));
  try {
    client.flush(20);
    FAIL("nothing was applied");
  } catch (const RequestRefused& refused) {
    CHECK(refused.code() == WireError::deadline);
    CHECK(refused.kind() == ErrorKind::unavailable);
  }
  served.engine.apply_all();
  CHECK(client.flush() == 1);
}

TEST_CASE("client: an answer arrives in pieces and as a whole", "[service][client]") {
  ServedEngine served;
  Client client(options_for(served));
  Question question;
  question.text = "what is new";
  question.codec = "text";
  std::string streamed;
  const Answer answer = client.ask(question, [&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  CHECK(streamed == " what is new");
  CHECK(answer.text == streamed);
  CHECK(answer.codec == "text");
  REQUIRE(answer.citations.size() == 1);
  CHECK(answer.citations[0].title == "Tïtle");
  CHECK(answer.first_token_ms == 1.5);
}

TEST_CASE("client: an answer can be cut short by its reader or its deadline", "[service][client]") {
  ServedEngine served;
  Client client(options_for(served));
  Question question;
  question.text = "wait";
  int pieces = 0;
  CHECK(client.ask(question, [&](std::string_view) { return ++pieces < 3; }).finish == "cancelled");
  CHECK_THROWS_AS(client.ask(question, nullptr, 30), RequestRefused);
  question.text = "";
  CHECK_THROWS_WITH(client.ask(question), Contains("empty"));
}

TEST_CASE("client: documents, status and dead letters come back as they were stored",
          "[service][client]") {
  ServedEngine served;
  Client client(options_for(served));
  Document document = simple_document("a", 2);
  document.title = "A title";
  document.metadata = {{"k", "v"}};
  client.put(document);
  client.flush();
  const auto found = client.find_document("default", "a");
  REQUIRE(found);
  CHECK(found->document.title == "A title");
  CHECK(found->document.metadata == document.metadata);
  CHECK(found->summary.version == 2);
  CHECK(!client.find_document("default", "b"));
  CHECK(client.list_documents("default").size() == 1);
  CHECK_THAT(client.status(), Contains("\"documents\":1"));

  client.erase("default", "a", 2);
  client.flush();
  CHECK(!client.find_document("default", "a"));

  client.add_dead_letter({"in.jsonl", 3, "no id", "{}", 0});
  const auto letters = client.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].line == 3);
  CHECK(letters[0].content == "{}");
}

}  // namespace
}  // namespace alluvium::service
