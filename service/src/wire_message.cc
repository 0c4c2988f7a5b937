#include "alluvium/service/protocol.h"

namespace alluvium::service {
namespace {

std::string magic() { return {'A', 'L', 'V', static_cast<char>(kProtocolMajor)}; }

void check_magic(const std::string& frame) {
  if (frame.size() != 4 || frame.compare(0, 3, "ALV") != 0) {
    throw ProtocolError(WireError::bad_request,
                        "frame 0 must be the four bytes 'A' 'L' 'V' and the protocol's version");
  }
  if (frame != magic()) {
    throw ProtocolError(WireError::version,
                        fmt::format("protocol version {} is not supported; supported: {}",
                                    static_cast<uint8_t>(frame[3]), kProtocolMajor));
  }
}

}  // namespace

std::string_view Message::body(std::string_view type) const {
  for (const auto& [held_type, bytes] : bodies) {
    if (held_type == type) {
      return bytes;
    }
  }
  return {};
}

std::string Message::attribute(const std::string& name, const std::string& fallback) const {
  const auto found = attributes.find(name);
  return found == attributes.end() ? fallback : found->second;
}

std::size_t Message::body_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [type, body] : bodies) {
    bytes += body.size();
  }
  return bytes;
}

Frames encode_message(const Message& message) {
  Frames frames = {magic(), encode_header(message)};
  const WireLimits limits;
  ALLUVIUM_CHECK(frames[1].size() <= limits.bytes, "the header has {} bytes, the limit is {}",
                 frames[1].size(), limits.bytes);
  ALLUVIUM_CHECK(message.bodies.size() <= kBodyLimit, "{} bodies, the limit is {}",
                 message.bodies.size(), kBodyLimit);
  for (const auto& [type, bytes] : message.bodies) {
    ALLUVIUM_CHECK(bytes.size() <= kFrameBytes, "{} has {} bytes, the limit is {}", type,
                   bytes.size(), kFrameBytes);
    frames.push_back(bytes);
  }
  return frames;
}

Message decode_message(const Frames& frames) {
  if (frames.empty()) {
    throw ProtocolError(WireError::bad_request, "a message without frames");
  }
  check_magic(frames[0]);
  if (frames.size() < 2) {
    throw ProtocolError(WireError::bad_request, "the header frame is missing");
  }
  Message message = decode_header(frames[1]);
  const std::size_t bodies = frames.size() - 2;
  if (bodies != message.bodies.size()) {
    throw ProtocolError(WireError::bad_request,
                        fmt::format("the header announces {} bodies, {} frames follow",
                                    message.bodies.size(), bodies),
                        message.request);
  }
  for (std::size_t i = 0; i < bodies; ++i) {
    message.bodies[i].second = frames[i + 2];
  }
  return message;
}

}  // namespace alluvium::service
