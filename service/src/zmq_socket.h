// ZeroMQ sockets that speak in our errors.
//
// Purpose: the one place where libzmq's error numbers become Alluvium's; every send and receive
//          here is non-blocking. Threads: a ZmqContext is thread-safe; a ZmqSocket is owned by one
//          thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "alluvium/service/protocol.h"

namespace alluvium::service {

class ZmqContext {
 public:
  ZmqContext();
  ~ZmqContext();
  ZmqContext(const ZmqContext&) = delete;
  ZmqContext& operator=(const ZmqContext&) = delete;

  void* handle() const { return handle_; }

 private:
  void* handle_;
};

enum class SendResult {
  sent,
  full,  ///< the peer does not take more now
  gone,  ///< there is no such peer any more
};

/// One received multipart message.
struct Received {
  Frames frames;
  bool overflow = false;  ///< it had more frames than asked for; the rest was read and dropped
};

/// Options every socket of ours has.
struct SocketOptions {
  int64_t heartbeat_ms = 2000;  ///< ZMTP PING; a peer silent for three of them is gone
  int64_t high_water = 1000;    ///< messages queued inside libzmq each way
  int64_t linger_ms = 1000;
  bool ipv6 = false;
};

class ZmqSocket {
 public:
  /// type: ZMQ_ROUTER and so on.
  ZmqSocket(const ZmqContext& context, int type, const SocketOptions& options);
  ~ZmqSocket();
  ZmqSocket(const ZmqSocket&) = delete;
  ZmqSocket& operator=(const ZmqSocket&) = delete;

  void set(int option, int value);
  void subscribe(const std::string& prefix);

  /// Throws Unavailable naming the address when it is in use.
  void bind(const std::string& address);
  /// Throws InvalidArgument when the address is malformed. The connection itself is made in the
  /// background.
  void connect(const std::string& address);
  /// The address bound, with the port the system chose.
  std::string bound_address() const;

  SendResult send(const Frames& frames);
  /// Nothing when no message waits.
  std::optional<Received> receive(std::size_t max_frames);

  void* handle() const { return handle_; }

 private:
  void* handle_;
};

/// Waits until `socket` has input, `fd` is readable (-1: none) or the time is over.
void wait_for_input(const ZmqSocket& socket, int fd, int64_t timeout_ms);

}  // namespace alluvium::service
