// The service's sockets: requests over ROUTER, events over PUB.
//
// Purpose: PUT and DELETE with credit and acknowledgement after the disk, questions with streamed
//          tokens, documents, status; docs/FORMATS.md, "Wire protocol". A client that breaks the
//          protocol, or reads nothing, harms itself only.
// Threads: one I/O thread owns both sockets; one journal thread logs; one flush thread waits; one
//          desk thread reads the store; answer_threads threads answer. start() and stop() are
//          called by one owner.
#pragma once

#include <memory>
#include <string>

#include "alluvium/service/configuration.h"
#include "alluvium/service/engine.h"

namespace alluvium::service {

class Endpoint {
 public:
  /// Binds both sockets. Throws Unavailable naming the address when a port is taken,
  /// InvalidArgument when the address is not loopback.
  Endpoint(const EndpointConfiguration& configuration, const IngestConfiguration& ingest);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  /// Serves from now on; `engine` must outlive stop(). Takes over Engine::on_event. Call once.
  void start(Engine& engine);

  /// Logs and acknowledges what was received, cancels running answers, tells waiting clients and
  /// closes the sockets. Idempotent.
  void stop();

  /// "tcp://127.0.0.1:7400", with the port the system chose when 0 was configured.
  const std::string& address() const;
  const std::string& events_address() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace alluvium::service
