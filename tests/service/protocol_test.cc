#include "alluvium/service/protocol.h"

#include <fstream>
#include <sstream>
#include <string>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::service {
namespace {

std::string session() {
  std::string bytes;
  for (int i = 0; i < 16; ++i) {
    bytes.push_back(static_cast<char>(i));
  }
  return bytes;
}

/// The messages of tests/oracle/wire/make_golden.py, by file name.
std::map<std::string, Message> golden_messages() {
  std::map<std::string, Message> all;
  const auto add = [&](const char* name, Command command, uint64_t request) -> Message& {
    return all[name] = Message(command, request);
  };
  Message& hello = add("hello", Command::hello, 7);
  hello.credit_messages = 256;
  hello.credit_bytes = 8388608;
  hello.session = session();
  hello.minor_version = 3;
  Message& welcome = add("welcome", Command::welcome, 7);
  welcome.attributes["instance"] = "ab";
  welcome.credit_messages = 256;
  welcome.credit_bytes = 8388608;
  welcome.cumulative = 41;
  welcome.session = session();
  Message& credit = add("credit", Command::credit, 0);
  credit.credit_messages = 64;
  credit.credit_bytes = 65536;
  Message& put = add("put", Command::put, 0);
  put.name_space = "news";
  put.document_id = "lake-orrin";
  put.version = 3;
  put.sequence = 42;
  put.timestamp_ns = 1714521600000000000;
  put.attributes = {{"author", "M. Strand"}, {"place", "Velde"}};
  put.bodies = {{"title", "Lake Orrin"}, {"text", "Größe: 14 km, 212 m tief."}};
  Message& old = add("put_before_1970", Command::put, 0);
  old.name_space = "news";
  old.document_id = "old";
  old.version = 1;
  old.sequence = 43;
  old.timestamp_ns = -1000000;
  old.bodies = {{"text", "Old."}};
  Message& erase = add("delete", Command::erase, 0);
  erase.name_space = "news";
  erase.document_id = "lake-orrin";
  erase.version = 3;
  erase.sequence = 44;
  Message& ack = add("ack", Command::ack, 0);
  ack.credit_messages = 64;
  ack.credit_bytes = 1024;
  ack.cumulative = 42;
  ack.level = AckLevel::journaled;
  Message& applied = add("ack_applied", Command::ack, 9);
  applied.level = AckLevel::applied;
  applied.offset = 1234567890123;
  Message& nack = add("nack", Command::nack, 0);
  nack.sequence = 43;
  nack.attributes["retry_after_ms"] = "1000";
  nack.error_code = "disk_full";
  nack.error_text = "no room for the log";
  add("ping", Command::ping, 10).session = session();
  Message& pong = add("pong", Command::pong, 10);
  pong.timestamp_ns = 1714521600123456789;
  pong.attributes["backlog"] = "5";
  add("bye", Command::bye, 11);
  Message& flush = add("flush", Command::flush, 9);
  flush.level = AckLevel::applied;
  flush.deadline_ms = 60000;
  add("status", Command::status, 12);
  Message& query = add("query", Command::query, 13);
  query.name_space = "news";
  query.attributes = {{"codec", "kv"}, {"top_k", "1"}};
  query.bodies = {{"text", "How deep is Lake Orrin?"}};
  query.deadline_ms = 5000;
  query.as_of_ns = 1714521600000000000;
  add("token", Command::token, 13).bodies = {{"text", " 212"}};
  add("done", Command::done, 13).bodies = {{"text", " 212 metres"}, {"json", "{}"}};
  add("cancel", Command::cancel, 13);
  add("cite", Command::cite, 13).bodies = {{"json", "[]"}};
  Message& list = add("document_list", Command::document_list, 14);
  list.name_space = "news";
  list.attributes = {{"after", ""}, {"limit", "10"}};
  Message& get = add("document_get", Command::document_get, 15);
  get.name_space = "news";
  get.document_id = "lake-orrin";
  Message& letter = add("dead_letter", Command::dead_letter, 16);
  letter.attributes = {{"line", "3"}, {"reason", "no text"}, {"source", "a.jsonl"}};
  letter.bodies = {{"content", "{}"}};
  add("dead_letter_list", Command::dead_letter_list, 17).attributes["limit"] = "5";
  Message& held = add("held_list", Command::held_list, 19);
  held.name_space = "news";
  held.document_id = "lake-orrin";
  held.attributes["limit"] = "5";
  Message& admit = add("held_admit", Command::held_admit, 20);
  admit.name_space = "news";
  admit.document_id = "lake-orrin";
  add("required_flag", Command::status, 18).flags = kFlagRequired;
  return all;
}

Frames read_golden(const std::string& name) {
  std::ifstream file(tests::oracle_directory() + "/wire/" + name + ".bin", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  const std::string bytes = text.str();
  Frames frames;
  for (std::size_t at = 0; at + 4 <= bytes.size();) {
    std::size_t length = 0;
    for (int i = 3; i >= 0; --i) {
      length = length << 8 | static_cast<uint8_t>(bytes[at + static_cast<std::size_t>(i)]);
    }
    frames.push_back(bytes.substr(at + 4, length));
    at += 4 + length;
  }
  return frames;
}

/// The code of the ProtocolError that decoding raises.
WireError refusal_of(const Frames& frames) {
  try {
    decode_message(frames);
  } catch (const ProtocolError& error) {
    return error.code();
  }
  FAIL("the frames were accepted");
  return WireError::internal;
}

Frames with_header(const WireValue::Map& map) {
  return {encode_message(Message(Command::ping))[0], encode_wire_value({map})};
}

TEST_CASE("protocol: every command has exactly the bytes an independent encoder gives it",
          "[service][protocol][oracle]") {
  for (const auto& [name, message] : golden_messages()) {
    CAPTURE(name);
    const Frames golden = read_golden(name);
    REQUIRE(golden.size() >= 2);
    CHECK(encode_message(message) == golden);
    CHECK(encode_message(decode_message(golden)) == golden);
  }
}

TEST_CASE("protocol: frame 0 decides between another protocol and another version",
          "[service][protocol]") {
  Frames frames = encode_message(Message(Command::ping, 1));
  frames[0] = "ALV\x02";
  CHECK(refusal_of(frames) == WireError::version);
  for (const char* wrong : {"", "ALV", "ALV\x01\x01", "HTTP", "GET / HTTP/1.1"}) {
    CAPTURE(wrong);
    frames[0] = wrong;
    CHECK(refusal_of(frames) == WireError::bad_request);
  }
  CHECK(refusal_of({}) == WireError::bad_request);
  CHECK(refusal_of({encode_message(Message(Command::ping))[0]}) == WireError::bad_request);
}

TEST_CASE("protocol: a malformed header is refused with the request it belongs to",
          "[service][protocol]") {
  const WireValue::Map ping = {{{uint64_t{0}}, {uint64_t{8}}}, {{uint64_t{1}}, {uint64_t{77}}}};
  const auto plus = [&](uint64_t key, WireValue value) {
    WireValue::Map map = ping;
    map.emplace_back(WireValue{key}, std::move(value));
    return with_header(map);
  };
  CHECK(decode_message(with_header(ping)).request == 77);
  SECTION("no command, another type, a key twice") {
    CHECK(refusal_of(with_header({})) == WireError::bad_request);
    CHECK(refusal_of({with_header({})[0], encode_wire_value({WireValue::Array{}})}) ==
          WireError::bad_request);
    CHECK(refusal_of(plus(1, {uint64_t{3}})) == WireError::bad_request);
    CHECK(refusal_of(plus(2, {uint64_t{3}})) == WireError::bad_request);
    CHECK(refusal_of(plus(5, {int64_t{-3}})) == WireError::bad_request);
    CHECK(refusal_of(plus(14, {uint64_t{3}})) == WireError::bad_request);
    CHECK(refusal_of(plus(17, {WireBytes{"short"}})) == WireError::bad_request);
    CHECK(refusal_of(plus(7, {WireValue::Map{{{std::string("a")}, {uint64_t{1}}}}})) ==
          WireError::bad_request);
  }
  SECTION("the request id stands in the error") {
    try {
      decode_message(plus(2, {uint64_t{3}}));
      FAIL("the frames were accepted");
    } catch (const ProtocolError& error) {
      CHECK(error.request() == 77);
    }
  }
  SECTION("bytes that are no MessagePack, and too many of them") {
    CHECK(refusal_of({with_header({})[0], "\xc1"}) == WireError::bad_request);
    CHECK(refusal_of({with_header({})[0], ""}) == WireError::bad_request);
    CHECK(refusal_of({with_header({})[0], std::string(70000, '\x01')}) == WireError::too_large);
  }
  SECTION("bodies that the header does not announce, or announces in vain") {
    Frames frames = with_header(ping);
    frames.emplace_back("surprise");
    CHECK(refusal_of(frames) == WireError::bad_request);
    CHECK(refusal_of(plus(8, {WireValue::Array{{std::string("text")}}})) == WireError::bad_request);
    CHECK(refusal_of(plus(8, {WireValue::Array(65, WireValue{std::string("text")})})) ==
          WireError::bad_request);
  }
}

TEST_CASE("protocol: unknown keys are ignored unless the sender requires them",
          "[service][protocol]") {
  WireValue::Map map = {{{uint64_t{0}}, {uint64_t{8}}},
                        {{uint64_t{64}}, {WireValue::Array{{std::string("new")}}}}};
  CHECK(decode_message(with_header(map)).is(Command::ping));
  map.emplace_back(WireValue{uint64_t{22}}, WireValue{kFlagRequired});
  CHECK(refusal_of(with_header(map)) == WireError::bad_request);
}

TEST_CASE("protocol: a message over the wire's limits is refused by its sender",
          "[service][protocol]") {
  Message message(Command::put);
  SECTION("a header over 64 KiB") {
    message.attributes["a"] = std::string(70000, 'x');
    CHECK_THROWS_WITH(encode_message(message), Catch::Matchers::Contains("header"));
  }
  SECTION("a body over 16 MiB") {
    message.bodies.emplace_back("text", std::string(kFrameBytes + 1, 'x'));
    CHECK_THROWS_WITH(encode_message(message), Catch::Matchers::Contains("text"));
  }
  SECTION("more than 64 bodies") {
    message.bodies.assign(65, {"text", "x"});
    CHECK_THROWS_WITH(encode_message(message), Catch::Matchers::Contains("65 bodies"));
  }
}

TEST_CASE("protocol: damaged messages decode or are refused, nothing else",
          "[service][protocol][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  int refused = 0;
  for (int round = 0; round < 20; ++round) {
    for (const auto& [name, message] : golden_messages()) {
      Frames frames = encode_message(message);
      std::string& header = frames[1];
      switch (random.below(3)) {
        case 0:
          header[random.below(header.size())] = static_cast<char>(random.next());
          break;
        case 1:
          header.resize(random.below(header.size()));
          break;
        default:
          header.insert(random.below(header.size()), 1, static_cast<char>(random.next()));
          break;
      }
      try {
        decode_message(frames);
      } catch (const ProtocolError&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("protocol: error codes keep their names and HTTP numbers", "[service][protocol]") {
  CHECK(std::string(to_string(WireError::credit_exceeded)) == "credit_exceeded");
  CHECK(http_status(WireError::disk_full) == 507);
  CHECK(http_status(WireError::version) == 505);
  CHECK(parse_wire_error("stale_version") == WireError::stale_version);
  CHECK(!parse_wire_error("something else"));
  for (int code = 0; code <= static_cast<int>(WireError::version); ++code) {
    const auto error = static_cast<WireError>(code);
    CHECK(parse_wire_error(to_string(error)) == error);
  }
}

}  // namespace
}  // namespace alluvium::service
