#include "zmq_socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include <zmq.h>

#include "alluvium/core/error.h"

namespace alluvium::service {
namespace {

constexpr int kHandshakeMs = 5000;

[[noreturn]] void throw_zmq(std::string_view what) {
  const int code = zmq_errno();
  throw InternalError(fmt::format("{}: {}", what, zmq_strerror(code)));
}

class Frame {
 public:
  Frame() { zmq_msg_init(&message_); }
  ~Frame() { zmq_msg_close(&message_); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  zmq_msg_t* get() { return &message_; }
  bool more() const { return zmq_msg_more(&message_) != 0; }
  std::string bytes() {
    return {static_cast<const char*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
  }

 private:
  zmq_msg_t message_;
};

}  // namespace

ZmqContext::ZmqContext() : handle_(zmq_ctx_new()) {
  if (handle_ == nullptr) {
    throw_zmq("cannot make a ZeroMQ context");
  }
}

ZmqContext::~ZmqContext() { zmq_ctx_term(handle_); }

ZmqSocket::ZmqSocket(const ZmqContext& context, int type, const SocketOptions& options)
    : handle_(zmq_socket(context.handle(), type)) {
  if (handle_ == nullptr) {
    throw_zmq("cannot make a ZeroMQ socket");
  }
  set(ZMQ_LINGER, static_cast<int>(options.linger_ms));
  const auto frame_bytes = static_cast<int64_t>(kFrameBytes);
  zmq_setsockopt(handle_, ZMQ_MAXMSGSIZE, &frame_bytes, sizeof(frame_bytes));
  set(ZMQ_HEARTBEAT_IVL, static_cast<int>(options.heartbeat_ms));
  set(ZMQ_HEARTBEAT_TIMEOUT, static_cast<int>(3 * options.heartbeat_ms));
  set(ZMQ_HEARTBEAT_TTL, static_cast<int>(std::min<int64_t>(3 * options.heartbeat_ms, 6553500)));
  set(ZMQ_HANDSHAKE_IVL, kHandshakeMs);
  set(ZMQ_SNDHWM, static_cast<int>(options.high_water));
  set(ZMQ_RCVHWM, static_cast<int>(options.high_water));
  set(ZMQ_IPV6, options.ipv6 ? 1 : 0);
}

ZmqSocket::~ZmqSocket() { zmq_close(handle_); }

void ZmqSocket::set(int option, int value) {
  if (zmq_setsockopt(handle_, option, &value, sizeof(value)) != 0) {
    throw_zmq(fmt::format("cannot set ZeroMQ option {} to {}", option, value));
  }
}

void ZmqSocket::subscribe(const std::string& prefix) {
  if (zmq_setsockopt(handle_, ZMQ_SUBSCRIBE, prefix.data(), prefix.size()) != 0) {
    throw_zmq("cannot subscribe");
  }
}

void ZmqSocket::bind(const std::string& address) {
  if (zmq_bind(handle_, address.c_str()) == 0) {
    return;
  }
  const int code = zmq_errno();
  if (code == EADDRINUSE) {
    throw Unavailable(
        fmt::format("{} is in use: another program, or another Alluvium, listens there; choose "
                    "other ports with "
                    "endpoint.port and endpoint.events_port (0 takes a free one)",
                    address));
  }
  throw Unavailable(fmt::format("cannot listen at {}: {}", address, zmq_strerror(code)));
}

void ZmqSocket::connect(const std::string& address) {
  if (zmq_connect(handle_, address.c_str()) != 0) {
    throw InvalidArgument(
        fmt::format("'{}' is not an address to connect to, such as tcp://127.0.0.1:7400: {}",
                    address, zmq_strerror(zmq_errno())));
  }
}

std::string ZmqSocket::bound_address() const {
  std::array<char, 256> address{};
  std::size_t size = address.size();
  if (zmq_getsockopt(handle_, ZMQ_LAST_ENDPOINT, address.data(), &size) != 0) {
    throw_zmq("cannot read the bound address");
  }
  return address.data();
}

SendResult ZmqSocket::send(const Frames& frames) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const int more = i + 1 < frames.size() ? ZMQ_SNDMORE : 0;
    if (zmq_send(handle_, frames[i].data(), frames[i].size(), more | ZMQ_DONTWAIT) >= 0) {
      continue;
    }
    const int code = zmq_errno();
    // libzmq counts whole messages: only the first frame can meet a full or vanished peer.
    if (i == 0 && code == EAGAIN) {
      return SendResult::full;
    }
    if (code == EHOSTUNREACH) {
      return SendResult::gone;
    }
    throw_zmq("cannot send");
  }
  return SendResult::sent;
}

std::optional<Received> ZmqSocket::receive(std::size_t max_frames) {
  Received received;
  for (bool more = true; more;) {
    Frame frame;
    if (zmq_msg_recv(frame.get(), handle_, ZMQ_DONTWAIT) < 0) {
      const int code = zmq_errno();
      if (code == EAGAIN || code == EINTR) {
        return std::nullopt;
      }
      throw_zmq("cannot receive");
    }
    more = frame.more();
    if (received.frames.size() < max_frames) {
      received.frames.push_back(frame.bytes());
    } else {
      received.overflow = true;
    }
  }
  return received;
}

void wait_for_input(const ZmqSocket& socket, int fd, int64_t timeout_ms) {
  std::array<zmq_pollitem_t, 2> items = {zmq_pollitem_t{socket.handle(), 0, ZMQ_POLLIN, 0},
                                         zmq_pollitem_t{nullptr, fd, ZMQ_POLLIN, 0}};
  const int count = fd >= 0 ? 2 : 1;
  if (zmq_poll(items.data(), count, timeout_ms) < 0 && zmq_errno() != EINTR) {
    throw_zmq("cannot poll");
  }
}

}  // namespace alluvium::service
