#include "postman.h"

#include <utility>

#include "wire_documents.h"

namespace alluvium::service {
namespace {

std::size_t size_of(const Frames& frames) {
  std::size_t bytes = 0;
  for (const std::string& frame : frames) {
    bytes += frame.size();
  }
  return bytes;
}

Frames encode_or_refuse(const Message& message) {
  try {
    return encode_message(message);
  } catch (const InvalidArgument& error) {
    return encode_message(make_nack(WireError::too_large,
                                    fmt::format("the reply cannot be sent: {}", error.what()),
                                    message.request));
  }
}

}  // namespace

SendResult Postman::send(const std::string& client, const Frames& frames) {
  Frames addressed = {client};
  addressed.insert(addressed.end(), frames.begin(), frames.end());
  return router_.send(addressed);
}

Postman::Posted Postman::post(const std::string& client, const Message& message) {
  if (is_dropped(client)) {
    return Posted::lost;
  }
  Frames frames = encode_or_refuse(message);
  if (outboxes_.count(client) > 0) {
    return enqueue(client, std::move(frames));
  }
  switch (send(client, frames)) {
    case SendResult::sent:
      return Posted::accepted;
    case SendResult::full:
      return enqueue(client, std::move(frames));
    case SendResult::gone:
      return Posted::lost;
  }
  return Posted::lost;
}

Postman::Posted Postman::enqueue(const std::string& client, Frames frames) {
  Outbox& outbox = outboxes_[client];
  outbox.bytes += size_of(frames);
  outbox.messages.push_back(std::move(frames));
  if (outbox.messages.size() <= options_.outbox_messages && outbox.bytes <= options_.outbox_bytes) {
    return Posted::accepted;
  }
  outboxes_.erase(client);
  dropped_.insert(client);
  return Posted::lost;
}

std::vector<std::string> Postman::retry() {
  std::vector<std::string> gone;
  for (auto it = outboxes_.begin(); it != outboxes_.end();) {
    auto& [client, outbox] = *it;
    SendResult result = SendResult::sent;
    while (!outbox.messages.empty() && result == SendResult::sent) {
      result = send(client, outbox.messages.front());
      if (result == SendResult::sent) {
        outbox.bytes -= size_of(outbox.messages.front());
        outbox.messages.pop_front();
      }
    }
    if (result == SendResult::gone) {
      gone.push_back(client);
    }
    it = result == SendResult::full ? std::next(it) : outboxes_.erase(it);
  }
  return gone;
}

bool Postman::readmit(const std::string& client) {
  const Message nack =
      make_nack(WireError::busy, "replies were not read and have been dropped; start with HELLO");
  const SendResult result = send(client, encode_message(nack));
  if (result == SendResult::full) {
    return false;
  }
  dropped_.erase(client);
  return result == SendResult::sent;
}

void Postman::forget(const std::string& client) {
  outboxes_.erase(client);
  dropped_.erase(client);
}

}  // namespace alluvium::service
