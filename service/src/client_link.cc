#include "client_link.h"

#include <algorithm>

#include <zmq.h>

#include "alluvium/core/clock.h"

namespace alluvium::service {
namespace {

constexpr int64_t kPingAfterUs = 1'000'000;
constexpr int64_t kTurnMs = 100;     // longest single wait, so that pings and silence are noticed
constexpr int64_t kGoodbyeMs = 200;  // for the last message to leave
constexpr int kReconnectMs = 100;
constexpr int kReconnectMaxMs = 5000;

int64_t now_us() { return SystemClock().monotonic_us(); }

}  // namespace

std::string no_service_message(const std::string& endpoint) {
  return fmt::format(
      "no service answers at {}; start one with 'alluvium serve' (or './run alluvium serve'), or "
      "name "
      "another with --endpoint or ALLUVIUM_ENDPOINT",
      endpoint);
}

ClientLink::ClientLink(const ClientOptions& options) : options_(options) {
  SocketOptions socket_options;
  socket_options.linger_ms = kGoodbyeMs;
  socket_options.ipv6 = options.endpoint.find('[') != std::string::npos;
  socket_ = std::make_unique<ZmqSocket>(context_, ZMQ_DEALER, socket_options);
  // Only to a connection that stands: nothing piles up for a service that is not there.
  socket_->set(ZMQ_IMMEDIATE, 1);
  socket_->set(ZMQ_RECONNECT_IVL, kReconnectMs);
  socket_->set(ZMQ_RECONNECT_IVL_MAX, kReconnectMaxMs);
  socket_->connect(options.endpoint);
  expect();
}

ClientLink::~ClientLink() {
  if (!has_heard_) {
    return;
  }
  try {
    send(encode_message(Message(Command::bye)));
  } catch (const Error&) {
    // The service will notice by itself.
  }
}

void ClientLink::expect() { heard_us_ = now_us(); }

void ClientLink::send_patiently(const Message& message) {
  const Frames frames = encode_message(message);
  const int64_t limit_us =
      1000 * (has_heard_ ? options_.silence_timeout_ms : options_.connect_timeout_ms);
  const int64_t start_us = now_us();
  while (!send(frames)) {
    if (now_us() - start_us > limit_us) {
      throw Unavailable(no_service_message(options_.endpoint));
    }
    zmq_pollitem_t item{socket_->handle(), 0, ZMQ_POLLOUT, 0};
    zmq_poll(&item, 1, kTurnMs);
  }
}

std::optional<Message> ClientLink::receive(int64_t wait_ms) {
  const int64_t until_us = now_us() + 1000 * wait_ms;
  while (true) {
    if (auto received = socket_->receive(kBodyLimit + 2)) {
      heard_us_ = now_us();
      has_heard_ = true;
      Message message = decode_message(received->frames);
      note_instance(message);
      return message;
    }
    ping_if_silent();
    const int64_t left_us = until_us - now_us();
    if (left_us <= 0) {
      return std::nullopt;
    }
    wait_for_input(*socket_, -1, std::min(kTurnMs, left_us / 1000 + 1));
  }
}

void ClientLink::ping_if_silent() {
  const int64_t now = now_us();
  const int64_t silent_us = now - heard_us_;
  const int64_t limit_ms = has_heard_ ? options_.silence_timeout_ms : options_.connect_timeout_ms;
  if (silent_us > 1000 * limit_ms) {
    throw Unavailable(no_service_message(options_.endpoint));
  }
  if (silent_us > kPingAfterUs && now - pinged_us_ > kPingAfterUs) {
    pinged_us_ = now;
    Message ping(Command::ping);
    ping.session = session_;
    send(encode_message(ping));
  }
}

void ClientLink::note_instance(const Message& message) {
  const std::string instance = message.attribute("instance");
  if (instance.empty()) {
    return;
  }
  restarts_ += !instance_.empty() && instance_ != instance ? 1 : 0;
  instance_ = instance;
}

}  // namespace alluvium::service
