// Messages to clients that may be slow, or gone.
//
// Purpose: sending never waits. What a client does not take now waits in its own bounded outbox; a
//          client that lets it overflow is dropped. Threads: owned by the endpoint's I/O thread.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "zmq_socket.h"

namespace alluvium::service {

struct PostmanOptions {
  std::size_t outbox_messages = 1024;  ///< of one client
  std::size_t outbox_bytes = std::size_t{32} << 20;
};

class Postman {
 public:
  /// router must outlive it and have ZMQ_ROUTER_MANDATORY set.
  explicit Postman(ZmqSocket& router, const PostmanOptions& options = {})
      : router_(router), options_(options) {}

  enum class Posted {
    accepted,  ///< sent, or waiting in the outbox
    lost,      ///< the client is gone, or has just been dropped, or was dropped before
  };

  /// A message too large for the wire becomes a NACK that says so.
  Posted post(const std::string& client, const Message& message);

  /// Sends what waits, as far as it goes. Returns the clients that turned out to be gone.
  std::vector<std::string> retry();

  bool is_waiting() const { return !outboxes_.empty(); }

  /// Dropped for not reading, and not heard since by readmit().
  bool is_dropped(const std::string& client) const { return dropped_.count(client) > 0; }

  /// Tells a dropped client what happened, if it reads again; true when it was told and may go on
  /// from the start.
  bool readmit(const std::string& client);

  /// Forgets outbox and mark.
  void forget(const std::string& client);

 private:
  struct Outbox {
    std::deque<Frames> messages;
    std::size_t bytes = 0;
  };

  SendResult send(const std::string& client, const Frames& frames);
  Posted enqueue(const std::string& client, Frames frames);

  ZmqSocket& router_;
  const PostmanOptions options_;
  std::map<std::string, Outbox> outboxes_;  // never holds an empty one
  std::set<std::string> dropped_;
};

}  // namespace alluvium::service
