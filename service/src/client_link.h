// The client's connection: frames out, messages in, and the question whether anybody is there.
//
// Threads: owned by its client's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "alluvium/service/client.h"
#include "zmq_socket.h"

namespace alluvium::service {

class ClientLink {
 public:
  explicit ClientLink(const ClientOptions& options);

  /// Says goodbye, so that the service need not remember this client until it counts as idle.
  ~ClientLink();
  ClientLink(const ClientLink&) = delete;
  ClientLink& operator=(const ClientLink&) = delete;

  /// False when nothing can be sent now.
  bool send(const Frames& frames) { return socket_->send(frames) == SendResult::sent; }

  /// Sends, or throws Unavailable after a silence too long.
  void send_patiently(const Message& message);

  /// The next message, waiting at most `wait_ms`; pings a silent service. Throws Unavailable when it has been silent for too long.
  std::optional<Message> receive(int64_t wait_ms);

  /// Starts measuring silence now.
  void expect();

  /// Pings carry it, so that a service that lost the session says so. Empty: none.
  void keep_session(const std::string& session) { session_ = session; }

  /// Counts how often a different start of the service answered.
  int64_t restarts() const { return restarts_; }

 private:
  void ping_if_silent();
  void note_instance(const Message& message);

  const ClientOptions options_;
  ZmqContext context_;
  std::unique_ptr<ZmqSocket> socket_;
  std::string session_;
  std::string instance_;
  int64_t restarts_ = 0;
  int64_t heard_us_ = 0;
  int64_t pinged_us_ = 0;
  bool has_heard_ = false;
};

}  // namespace alluvium::service
