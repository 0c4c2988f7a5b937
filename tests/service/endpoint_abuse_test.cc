// Clients that break the rules, by mistake or on purpose. After each the service must answer others as before.
#include <arpa/inet.h>
#include <array>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include "alluvium/core/random.h"
#include "endpoint_fixture.h"

namespace alluvium::service {
namespace {

using Catch::Matchers::Contains;
using tests::RawPeer;
using tests::ServedEngine;
using tests::simple_document;

/// A well-behaved client can publish and ask.
void require_service(const ServedEngine& served) {
  RawPeer peer(served.endpoint->address());
  const uint64_t sequence = peer.hello('w').cumulative + 1;
  peer.send(put_message(simple_document("well-behaved", sequence), sequence));
  REQUIRE(peer.reply().cumulative == sequence);
  Question question;
  question.text = "still there";
  Message message = peer.request(query_message(question, 1, 0));
  while (message.is(Command::token) || message.is(Command::cite)) {
    message = peer.reply();
  }
  REQUIRE(message.is(Command::done));
}

/// A plain TCP connection to the endpoint.
class TcpPeer {
 public:
  explicit TcpPeer(const std::string& address) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
  }
  ~TcpPeer() { close(fd_); }
  TcpPeer(const TcpPeer&) = delete;
  TcpPeer& operator=(const TcpPeer&) = delete;

  void send(const std::string& bytes) {
    REQUIRE(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }

  /// Reads exactly `size` bytes.
  std::string receive(std::size_t size) {
    std::string bytes(size, '\0');
    REQUIRE(recv(fd_, bytes.data(), size, MSG_WAITALL) == static_cast<ssize_t>(size));
    return bytes;
  }

  /// Until the other side closes.
  void await_close() {
    std::array<char, 4096> bytes{};
    while (recv(fd_, bytes.data(), bytes.size(), 0) > 0) {
    }
  }

  /// ZMTP 3.0 greeting and READY with the NULL mechanism (rfc.zeromq.org/spec/23).
  void shake_hands() {
    std::string greeting(64, '\0');
    greeting[0] = '\xff';
    greeting[9] = '\x7f';
    greeting[10] = 3;
    greeting.replace(12, 4, "NULL");
    send(greeting);
    receive(64);
    const std::string property =
        std::string("\x0bSocket-Type") + std::string("\0\0\0\x06", 4) + "DEALER";
    const std::string ready = std::string("\x05READY") + property;
    send(std::string("\x04") + static_cast<char>(ready.size()) + ready);
    const std::string head = receive(2);
    receive(static_cast<uint8_t>(head[1]));
  }

 private:
  int fd_;
};

TEST_CASE("endpoint: bytes that are not ZeroMQ end the connection only", "[service][abuse]") {
  ServedEngine served;
  {
    TcpPeer http(served.endpoint->address());
    http.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + std::string(200, 'x'));
    http.await_close();
  }
  require_service(served);
}

TEST_CASE("endpoint: half a multipart message does not reach the service", "[service][abuse]") {
  ServedEngine served;
  {
    TcpPeer half(served.endpoint->address());
    half.shake_hands();
    // A first frame with "more to come" set, then a frame that announces 100 bytes and brings 3.
    half.send(std::string("\x01\x04", 2) + "ALV\x01");
    half.send(std::string("\x00\x64", 2) + "abc");
  }
  require_service(served);
  CHECK(served.engine.log_calls == 1);
}

TEST_CASE("endpoint: a frame over 16 MiB ends the connection only", "[service][abuse]") {
  ServedEngine served;
  {
    TcpPeer large(served.endpoint->address());
    large.shake_hands();
    large.send(std::string("\x02\x00\x00\x00\x00\x01\x40\x00\x00", 9));  // 20 MiB
    large.await_close();
  }
  require_service(served);
}

TEST_CASE("endpoint: another protocol version is told which one is spoken here",
          "[service][abuse]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  Frames frames = encode_message(Message(Command::ping, 1));
  frames[0][3] = 2;
  peer.send(frames);
  const Message nack = peer.reply();
  CHECK(nack.is(Command::nack));
  CHECK(nack.error_code == "version");
  CHECK(nack.attribute("majors") == "1");
  require_service(served);
}

TEST_CASE("endpoint: every malformed message gets a refusal that says why", "[service][abuse]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  const std::string magic = encode_message(Message(Command::ping))[0];
  const auto refusal = [&](const Frames& frames) {
    peer.send(frames);
    const Message nack = peer.reply();
    CHECK(nack.is(Command::nack));
    return nack.error_code + ": " + nack.error_text;
  };
  CHECK_THAT(refusal({""}), Contains("bad_request"));
  CHECK_THAT(refusal({"", magic, "\x80"}), Contains("frame 0"));
  CHECK_THAT(refusal({magic}), Contains("header frame is missing"));
  CHECK_THAT(refusal({magic, "\xc1"}), Contains("malformed header"));
  CHECK_THAT(refusal({magic, std::string("\xdf\xff\xff\xff\xff", 5)}), Contains("entries"));
  CHECK_THAT(refusal({magic, std::string(70000, 'x')}), Contains("too_large"));
  Frames frames = encode_message(Message(Command::ping, 4));
  frames.resize(100, "body");
  CHECK_THAT(refusal(frames), Contains("at most 64 bodies"));
  require_service(served);
}

TEST_CASE("endpoint: unknown commands, and those only the service sends, are refused",
          "[service][abuse]") {
  ServedEngine served;
  RawPeer peer(served.endpoint->address());
  Message unknown;
  unknown.command = 50;
  unknown.request = 5;
  const Message nack = peer.request(unknown);
  CHECK(nack.error_code == "bad_request");
  CHECK(nack.request == 5);
  CHECK_THAT(nack.error_text, Contains("command 50"));
  CHECK_THAT(peer.request(Message(Command::welcome, 6)).error_text, Contains("WELCOME"));
  require_service(served);
}

TEST_CASE("endpoint: documents that cannot be are refused one by one, the stream goes on",
          "[service][abuse]") {
  ServedEngine served(
      [](Configuration& configuration) { configuration.ingest.limits.text_bytes = 1000; });
  RawPeer peer(served.endpoint->address());
  peer.hello();
  const auto refusal = [&](const Document& document, uint64_t sequence) {
    const Message nack = peer.request(put_message(document, sequence));
    CHECK(nack.is(Command::nack));
    CHECK(nack.sequence == sequence);
    return nack.error_code + ": " + nack.error_text;
  };
  CHECK_THAT(refusal(simple_document("a", 1, ""), 1), Contains("text must not be empty"));
  CHECK_THAT(refusal(simple_document("a", 1, "\xc3\x28"), 2), Contains("not UTF-8"));
  CHECK_THAT(refusal(simple_document("", 1), 3), Contains("id must not be empty"));
  CHECK_THAT(refusal(simple_document("a", 0), 4), Contains("version"));
  CHECK_THAT(refusal(simple_document("a\nb"), 5), Contains("control characters"));
  CHECK_THAT(refusal(simple_document("a", 1, std::string(1001, 'x')), 6),
             Contains("too_large") && Contains("1000"));
  peer.send(put_message(simple_document("good"), 7));
  CHECK(peer.reply().cumulative == 7);
  CHECK(served.engine.store().counts({}).documents == 1);
}

TEST_CASE("endpoint: a client that never reads is dropped and can come back",
          "[service][abuse][stream]") {
  ServedEngine served(
      [](Configuration& configuration) { configuration.endpoint.credit_messages = 16; });
  RawPeer deaf(served.endpoint->address(), 1);
  // Each reply carries a text of a mebibyte, so that all buffers on the way fill up.
  {
    RawPeer peer(served.endpoint->address());
    peer.hello();
    peer.send(put_message(simple_document("large", 1, std::string(1 << 20, 'x')), 1));
    REQUIRE(peer.reply().cumulative == 1);
  }
  Message get(Command::document_get, 1);
  get.document_id = "large";
  for (int i = 0; i < 200; ++i) {
    deaf.send(get);
  }
  {
    // The store's desk answers in order: by then its replies have met the full buffers.
    RawPeer peer(served.endpoint->address());
    REQUIRE(peer.request(Message(Command::status, 1)).is(Command::status));
  }
  require_service(served);
  // Reading again: replies sent before the drop, then the notice, then normal service.
  bool noticed = false;
  for (uint64_t request = 2; !noticed; ++request) {
    REQUIRE(request < 2000);
    deaf.try_send(Message(Command::ping, request));
    const Message message = deaf.reply();
    noticed =
        message.error_code == "busy" && message.error_text.find("not read") != std::string::npos;
  }
  require_service(served);
}

TEST_CASE("endpoint: random frames never stop the service", "[service][abuse][property]") {
  ServedEngine served;
  const auto seed = GENERATE(range(0U, 5U));
  CAPTURE(seed);
  Random random(seed);
  RawPeer peer(served.endpoint->address());
  const Frames whole = encode_message(put_message(simple_document("a"), 1));
  for (int round = 0; round < 200; ++round) {
    Frames frames = whole;
    std::string& frame = frames[random.below(frames.size())];
    frame[random.below(frame.size())] = static_cast<char>(random.next());
    if (random.below(4) == 0) {
      frames.erase(frames.begin() + static_cast<int64_t>(random.below(frames.size())));
    }
    peer.send(frames);
  }
  require_service(served);
}

}  // namespace
}  // namespace alluvium::service
