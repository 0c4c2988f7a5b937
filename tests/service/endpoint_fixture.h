// A served fake engine, and a client that speaks frames.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <zmq.h>

#include "alluvium/service/endpoint.h"
#include "fake_engine.h"
#include "support/catch.h"
#include "support/paths.h"
#include "wire_documents.h"
#include "zmq_socket.h"

namespace alluvium::tests {

inline constexpr int64_t kPatience = 20000;  ///< ms after which a test gives up waiting

/// Endpoint on free ports over a fake engine.
struct ServedEngine {
  explicit ServedEngine(const std::function<void(service::Configuration&)>& change = nullptr)
      : engine(directory / "store"), configuration(service::default_configuration()) {
    configuration.endpoint.port = 0;
    configuration.endpoint.events_port = 0;
    if (change) {
      change(configuration);
    }
    restart();
  }

  /// A new endpoint over the same engine: what a restarted service is to its clients.
  void restart() {
    endpoint = std::make_unique<service::Endpoint>(configuration.endpoint, configuration.ingest);
    endpoint->start(engine);
  }

  TemporaryDirectory directory;
  FakeEngine engine;
  service::Configuration configuration;
  std::unique_ptr<service::Endpoint> endpoint;
};

/// A DEALER that sends what it is told.
class RawPeer {
 public:
  explicit RawPeer(const std::string& address, int64_t high_water = 1000)
      : socket_(context_, ZMQ_DEALER, options(high_water)) {
    socket_.connect(address);
  }

  void send(const service::Frames& frames) {
    while (socket_.send(frames) != service::SendResult::sent) {
    }
  }
  void send(const service::Message& message) { send(service::encode_message(message)); }
  bool try_send(const service::Message& message) {
    return socket_.send(service::encode_message(message)) == service::SendResult::sent;
  }

  /// The next message; fails the test when none comes.
  service::Message receive() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatience);
    while (std::chrono::steady_clock::now() < until) {
      if (auto received = socket_.receive(100)) {
        service::Message message = service::decode_message(received->frames);
        granted_ += message.credit_messages;
        return message;
      }
      service::wait_for_input(socket_, -1, 50);
    }
    FAIL("no message came");
    return {};
  }

  /// Messages that the credit of all messages received so far allows to send.
  uint64_t granted() const { return granted_; }

  /// The next message that is not a CREDIT.
  service::Message reply() {
    while (true) {
      service::Message message = receive();
      if (!message.is(service::Command::credit)) {
        return message;
      }
    }
  }

  service::Message request(const service::Message& message) {
    send(message);
    return reply();
  }

  service::Message hello(char session = 's') {
    service::Message message(service::Command::hello, 1);
    message.session = std::string(service::kSessionBytes, session);
    return request(message);
  }

 private:
  static service::SocketOptions options(int64_t high_water) {
    service::SocketOptions options;
    options.linger_ms = 0;
    options.high_water = high_water;
    return options;
  }

  service::ZmqContext context_;
  service::ZmqSocket socket_;
  uint64_t granted_ = 0;
};

inline Document simple_document(const std::string& id, uint64_t version = 1,
                                const std::string& text = "Some text.") {
  Document document;
  document.id = id;
  document.version = version;
  document.text = text;
  return document;
}

}  // namespace alluvium::tests
