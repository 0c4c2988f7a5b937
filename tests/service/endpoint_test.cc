#include "alluvium/service/endpoint.h"

#include <set>
#include <string>

#include "alluvium/core/error.h"
#include "endpoint_fixture.h"

namespace alluvium::service {
namespace {

using Catch::Matchers::Contains;
using tests::RawPeer;
using tests::ServedEngine;
using tests::simple_document;

/// Reads acknowledgements until `sequence` is covered.
void await_ack(RawPeer& peer, uint64_t sequence) {
  while (true) {
    const Message message = peer.reply();
    REQUIRE(message.is(Command::ack));
    CHECK(message.level == AckLevel::journaled);
    if (message.cumulative >= sequence) {
      return;
    }
  }
}

TEST_CASE("endpoint: a session opens with credit and the last sequence it logged",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  const Message welcome = peer.hello();
  CHECK(welcome.is(Command::welcome));
  CHECK(welcome.cumulative == 0);
  CHECK(welcome.credit_messages == 256);
  CHECK(welcome.credit_bytes == uint64_t{8} << 20);
  CHECK(welcome.session == std::string(kSessionBytes, 's'));

  peer.send(put_message(simple_document("a"), 5));
  await_ack(peer, 5);
  RawPeer again(served.endpoint->address());
  CHECK(again.hello().cumulative == 5);
  CHECK(again.hello('t').cumulative == 0);
}

TEST_CASE("endpoint: an acknowledged document is in the log, with everything it came with",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  peer.hello();
  Document document = simple_document("lake", 3, "Größe: 14 km.");
  document.name_space = "news";
  document.title = "Lake Orrin";
  document.valid_from_us = -5'000'000;
  document.metadata = {{"author", "M. Strand"}};
  peer.send(put_message(document, 1));
  await_ack(peer, 1);
  const auto stored = served.engine.store().read_document("news", "lake");
  REQUIRE(stored);
  CHECK(stored->version == 3);
  CHECK(stored->title == document.title);
  CHECK(stored->text == document.text);
  CHECK(stored->valid_from_us == document.valid_from_us);
  CHECK(stored->metadata == document.metadata);
}

TEST_CASE("endpoint: a repeated sequence is acknowledged again and logged once",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  peer.hello();
  for (int i = 0; i < 3; ++i) {
    peer.send(put_message(simple_document("a"), 1));
    await_ack(peer, 1);
  }
  CHECK(served.engine.store().counts({}).logged_offset == 1);
}

TEST_CASE("endpoint: documents that gather while the disk works share one commit",
          "[service][endpoint]") {
  ServedEngine served;
  served.engine.log_blocked = true;
  RawPeer peer(served.endpoint->address());
  peer.hello();
  for (uint64_t i = 1; i <= 100; ++i) {
    peer.send(put_message(simple_document(std::to_string(i)), i));
  }
  // An answer to a later request shows that all documents have arrived.
  while (!peer.request(Message(Command::ping, 9)).is(Command::pong)) {
  }
  served.engine.log_blocked = false;
  await_ack(peer, 100);
  CHECK(served.engine.log_calls <= 3);
  CHECK(served.engine.store().counts({}).documents == 100);
}

TEST_CASE("endpoint: documents without a session or a sequence are refused by name",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  Message nack = peer.request(put_message(simple_document("a"), 1));
  CHECK(nack.error_code == "precondition");
  CHECK(nack.sequence == 1);
  peer.hello();
  CHECK(peer.request(put_message(simple_document("a"), 0)).error_code == "bad_request");
  Message hello(Command::hello, 2);
  CHECK(peer.request(hello).error_code == "bad_request");
}

TEST_CASE("endpoint: what is sent without credit is dropped, and the third time ends the session",
          "[service][endpoint]") {
  ServedEngine served(
      [](Configuration& configuration) { configuration.endpoint.credit_messages = 2; });
  served.engine.log_blocked = true;
  RawPeer peer(served.endpoint->address());
  CHECK(peer.hello().credit_messages == 2);
  for (uint64_t i = 1; i <= 5; ++i) {
    peer.send(put_message(simple_document(std::to_string(i)), i));
  }
  for (uint64_t i = 3; i <= 5; ++i) {
    const Message nack = peer.reply();
    CHECK(nack.error_code == "credit_exceeded");
    CHECK(nack.sequence == i);
  }
  CHECK(peer.request(put_message(simple_document("6"), 6)).error_code == "precondition");
  served.engine.log_blocked = false;
  // The session can be opened again, and knows what was logged meanwhile.
  await_ack(peer, 2);
  CHECK(peer.hello().cumulative == 2);
}

TEST_CASE("endpoint: a full backlog holds credit back until documents are applied",
          "[service][endpoint]") {
  ServedEngine served([](Configuration& configuration) {
    configuration.endpoint.credit_messages = 4;
    configuration.ingest.queue_documents = 4;
  });
  served.engine.apply = false;
  RawPeer peer(served.endpoint->address());
  CHECK(peer.hello().credit_messages == 4);
  for (uint64_t i = 1; i <= 4; ++i) {
    peer.send(put_message(simple_document(std::to_string(i)), i));
  }
  uint64_t granted = 0;
  for (uint64_t acknowledged = 0; acknowledged < 4;) {
    const Message message = peer.receive();
    granted += message.credit_messages;
    acknowledged = std::max(acknowledged, message.cumulative);
  }
  CHECK(granted < 4);
  served.engine.apply_all();
  while (granted < 4) {
    granted += peer.receive().credit_messages;
  }
  CHECK(granted == 4);
}

TEST_CASE("endpoint: a full disk refuses documents, returns their credit and loses nothing",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  peer.hello();
  served.engine.disk_full = true;
  for (uint64_t i = 1; i <= 600; ++i) {
    while (peer.granted() < i) {
      REQUIRE(peer.receive().is(Command::credit));
    }
    const Message nack = peer.request(put_message(simple_document("a"), i));
    REQUIRE(nack.error_code == "disk_full");
    REQUIRE(nack.sequence == i);
  }
  served.engine.disk_full = false;
  peer.send(put_message(simple_document("a"), 601));
  await_ack(peer, 601);
  CHECK(served.engine.store().counts({}).documents == 1);
}

TEST_CASE(
    "endpoint: a flush is answered when everything before it is applied, or its deadline passed",
    "[service][endpoint]") {
  ServedEngine served;
  served.engine.apply = false;
  RawPeer peer(served.endpoint->address());
  peer.hello();
  peer.send(put_message(simple_document("a"), 1));
  await_ack(peer, 1);
  Message flush(Command::flush, 9);
  flush.deadline_ms = 30;
  const Message late = peer.request(flush);
  CHECK(late.error_code == "deadline");
  CHECK(late.request == 9);
  flush.deadline_ms = 0;
  flush.request = 10;
  peer.send(flush);
  served.engine.apply_all();
  const Message done = peer.reply();
  CHECK(done.is(Command::ack));
  CHECK(done.level == AckLevel::applied);
  CHECK(done.request == 10);
  CHECK(done.offset == 1U);
}

TEST_CASE("endpoint: an answer streams token by token, then citations, then the whole",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  Question question;
  question.text = "how deep is it";
  question.name_space = "news";
  question.top_k = 5;
  peer.send(query_message(question, 3, 0));
  std::string streamed;
  Message message = peer.reply();
  for (; message.is(Command::token); message = peer.reply()) {
    CHECK(message.request == 3);
    streamed += message.body("text");
  }
  CHECK(streamed == " how deep is it");
  REQUIRE(message.is(Command::cite));
  const auto citations = citations_from_json(message.body("json"));
  REQUIRE(citations.size() == 1);
  CHECK(citations[0].id == "doc \"1\"");
  CHECK(citations[0].weight == 0.75);
  message = peer.reply();
  REQUIRE(message.is(Command::done));
  CHECK(message.body("text") == streamed);
  Answer answer;
  read_answer_json(message.body("json"), answer);
  CHECK(answer.note == "news");
  CHECK(answer.prompt_tokens == 5);
  CHECK(answer.answer_tokens == 4);
}

TEST_CASE("endpoint: a question can be cancelled, runs into its deadline, and is known by its id",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  Question question;
  question.text = "wait for ever";
  const auto skip_tokens = [&] {
    Message message = peer.reply();
    while (message.is(Command::token)) {
      message = peer.reply();
    }
    return message;
  };
  SECTION("cancelled") {
    peer.send(query_message(question, 3, 0));
    CHECK(peer.reply().is(Command::token));
    peer.send(Message(Command::cancel, 3));
    CHECK(skip_tokens().is(Command::cite));
    const Message done = peer.reply();
    Answer answer;
    read_answer_json(done.body("json"), answer);
    CHECK(answer.finish == "cancelled");
  }
  SECTION("past its deadline") {
    peer.send(query_message(question, 3, 40));
    CHECK(skip_tokens().error_code == "deadline");
  }
  SECTION("two with one id") {
    peer.send(query_message(question, 3, 0));
    peer.send(query_message(question, 3, 0));
    CHECK(skip_tokens().error_code == "bad_request");
    peer.send(Message(Command::cancel, 3));
    CHECK(skip_tokens().is(Command::cite));
  }
  SECTION("none with this id") {
    CHECK(peer.request(Message(Command::cancel, 99)).error_code == "not_found");
    peer.send(query_message(question, 0, 0));
    CHECK(peer.reply().error_code == "bad_request");
  }
}

TEST_CASE("endpoint: an engine's error becomes a refusal with the right code",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  Question question;
  const Message empty = peer.request(query_message(question, 1, 0));
  CHECK(empty.error_code == "bad_request");
  CHECK_THAT(empty.error_text, Contains("empty"));
  question.text = "break";
  CHECK(peer.request(query_message(question, 2, 0)).error_code == "internal");
  Message bad = query_message(question, 3, 0);
  bad.attributes["top_k"] = "many";
  CHECK_THAT(peer.request(bad).error_text, Contains("top_k"));
}

TEST_CASE("endpoint: events tell in order what became of documents", "[service][endpoint]") {
  ServedEngine served;
  ZmqContext context;
  SocketOptions options;
  options.linger_ms = 0;
  ZmqSocket subscriber(context, ZMQ_SUB, options);
  subscriber.subscribe("news/doc/");
  subscriber.connect(served.endpoint->events_address());
  RawPeer peer(served.endpoint->address());
  peer.hello();
  // A subscription takes effect at some time after connecting: publish until the first event comes.
  std::optional<Received> first;
  uint64_t sequence = 0;
  while (!first) {
    Document document = simple_document("a", ++sequence);
    document.name_space = "news";
    peer.send(put_message(document, sequence));
    await_ack(peer, sequence);
    wait_for_input(subscriber, -1, 50);
    first = subscriber.receive(8);
  }
  REQUIRE(first->frames.size() == 3);
  CHECK(first->frames[0] == "news/doc/a");
  REQUIRE(first->frames[1].size() == 8);
  const Message adapted = decode_header(first->frames[2]);
  CHECK(adapted.attribute("kind") == "adapted");
  CHECK(adapted.document_id == "a");
  CHECK(adapted.level == AckLevel::applied);

  peer.send(erase_message("news", "a", sequence, sequence + 1));
  await_ack(peer, sequence + 1);
  Message last = adapted;
  while (last.attribute("kind") != "deleted") {
    wait_for_input(subscriber, -1, tests::kPatience);
    const auto received = subscriber.receive(8);
    REQUIRE(received);
    CHECK(received->frames[1] > first->frames[1]);
    last = decode_header(received->frames[2]);
  }
  CHECK(last.version == sequence);
}

TEST_CASE("endpoint: documents can be listed page by page, read, and found missing",
          "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  peer.hello();
  for (uint64_t i = 1; i <= 5; ++i) {
    peer.send(put_message(simple_document("d" + std::to_string(i)), i));
  }
  await_ack(peer, 5);
  Message list(Command::document_list, 2);
  list.name_space = "default";
  list.attributes = {{"after", "d2"}, {"limit", "2"}};
  const auto page = summaries_from_json(peer.request(list).body("json"));
  REQUIRE(page.size() == 2);
  CHECK(page[0].id == "d3");
  CHECK(page[1].id == "d4");
  list.attributes["limit"] = "-1";
  CHECK(peer.request(list).error_code == "bad_request");

  Message get(Command::document_get, 3);
  get.document_id = "d1";
  const Message found = peer.request(get);
  CHECK(found.request == 3);
  CHECK(read_document(found).text == "Some text.");
  get.document_id = "nobody";
  CHECK(peer.request(get).error_code == "not_found");
}

TEST_CASE("endpoint: dead letters from publishers are kept and listed", "[service][endpoint]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  const memory_bank::DeadLetter letter{"in.jsonl", 7, "text is missing", "{\"id\": \xff}", 0};
  CHECK(peer.request(dead_letter_message(letter, 4)).is(Command::dead_letter));
  const Message reply = peer.request(Message(Command::dead_letter_list, 5));
  const auto letters = dead_letters_from_json(reply.body("json"));
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].source == "in.jsonl");
  CHECK(letters[0].line == 7);
  CHECK(letters[0].reason == "text is missing");
  Message empty(Command::dead_letter, 6);
  CHECK(peer.request(empty).error_code == "bad_request");
}

TEST_CASE("endpoint: stopping logs what had arrived and tells those who wait",
          "[service][endpoint]") {
  ServedEngine served;
  served.engine.log_blocked = true;
  RawPeer peer(served.endpoint->address());
  peer.hello();
  for (uint64_t i = 1; i <= 20; ++i) {
    peer.send(put_message(simple_document(std::to_string(i)), i));
  }
  while (!peer.request(Message(Command::ping, 9)).is(Command::pong)) {
  }
  Question question;
  question.text = "wait";
  peer.send(query_message(question, 3, 0));
  CHECK(peer.reply().is(Command::token));
  served.engine.log_blocked = false;
  served.endpoint->stop();
  CHECK(served.engine.store().counts({}).documents == 20);
  bool acknowledged = false;
  bool done = false;
  while (!acknowledged || !done) {
    const Message message = peer.reply();
    acknowledged = acknowledged || message.cumulative == 20;
    done = done || message.is(Command::done);
  }
  CHECK(done);
}

TEST_CASE("endpoint: a taken port and a foreign address are refused by name",
          "[service][endpoint]") {
  ServedEngine served;
  EndpointConfiguration configuration = served.configuration.endpoint;
  const std::string address = served.endpoint->address();
  configuration.port = std::stoi(address.substr(address.rfind(':') + 1));
  CHECK_THROWS_WITH(Endpoint(configuration, {}), Contains(address) && Contains("in use"));
  configuration.port = 0;
  configuration.address = "0.0.0.0";
  CHECK_THROWS_WITH(Endpoint(configuration, {}), Contains("loopback"));
}

}  // namespace
}  // namespace alluvium::service
