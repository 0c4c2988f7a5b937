// The wire protocol: what a message between client and service is, byte for byte.
//
// Purpose: frames to Message and back, with every limit checked; neither sockets nor sessions.
//          docs/FORMATS.md, "Wire protocol", has the bytes. Threads: plain data and pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/service/wire_value.h"

namespace alluvium::service {

inline constexpr uint8_t kProtocolMajor = 1;
inline constexpr uint64_t kProtocolMinor = 0;
inline constexpr std::size_t kFrameBytes = std::size_t{16} << 20;  ///< largest frame accepted
inline constexpr std::size_t kBodyLimit = 64;                      ///< bodies of one message
inline constexpr std::size_t kSessionBytes = 16;

enum class Command : uint64_t {
  hello = 1,
  welcome = 2,
  credit = 3,
  put = 4,
  erase = 5,
  ack = 6,
  nack = 7,
  ping = 8,
  pong = 9,
  bye = 10,
  flush = 11,
  status = 12,
  query = 20,
  token = 21,
  done = 22,
  cancel = 23,
  cite = 24,
  reader_list = 30,
  reader_load = 31,
  reader_rollback = 32,
  reader_unload = 33,
  memory_stat = 40,
  memory_recompress = 41,
  memory_verify = 42,
  memory_compact = 43,
  document_list = 70,
  document_get = 71,
  dead_letter = 72,
  dead_letter_list = 73,
  held_list = 74,
  held_admit = 75,
};

/// Keys of the header map.
enum class HeaderKey : uint64_t {
  command = 0,
  request = 1,
  name_space = 2,
  document_id = 3,
  version = 4,
  sequence = 5,
  timestamp_ns = 6,
  attributes = 7,
  body_types = 8,
  body_count = 9,
  credit_messages = 10,
  credit_bytes = 11,
  cumulative = 12,
  ranges = 13,
  level = 14,
  error_code = 15,
  error_text = 16,
  session = 17,
  token = 18,
  deadline_ms = 19,
  adapter = 20,
  as_of_ns = 21,
  flags = 22,
  minor_version = 23,
};

/// Bit 0 of HeaderKey::flags: a receiver that does not know every key must refuse the message.
inline constexpr uint64_t kFlagRequired = 1;

/// How far a document has come when an ACK says so.
enum class AckLevel : uint64_t { journaled = 0, replicated = 1, applied = 2 };

enum class WireError {
  bad_request,
  unauthorized,
  forbidden,
  not_found,
  conflict,
  stale_version,
  precondition,
  too_large,
  busy,
  credit_exceeded,
  internal,
  degraded,
  disk_full,
  deadline,
  version,
};

/// The name on the wire, e.g. "bad_request".
const char* to_string(WireError code);
/// Nothing for an unknown name.
std::optional<WireError> parse_wire_error(std::string_view name);
/// HTTP's number for the code.
int http_status(WireError code);
/// What the service answers for an error it caught.
WireError wire_error_of(const Error& error);

const char* to_string(Command command);

/// A message that cannot be understood; carries what a NACK needs. `request` is 0 when the header
/// could not be read that far.
class ProtocolError : public InvalidArgument {
 public:
  ProtocolError(WireError code, const std::string& message, uint64_t request = 0)
      : InvalidArgument(message), code_(code), request_(request) {}

  WireError code() const { return code_; }
  uint64_t request() const { return request_; }

 private:
  WireError code_;
  uint64_t request_;
};

/// One message. Header fields that are absent on the wire keep their default here; a default is not
/// sent.
struct Message {
  uint64_t command = 0;  ///< a Command, or a number this program does not know
  uint64_t request = 0;
  std::string name_space;
  std::string document_id;
  uint64_t version = 0;
  uint64_t sequence = 0;
  int64_t timestamp_ns = 0;
  std::map<std::string, std::string> attributes;
  uint64_t credit_messages = 0;
  uint64_t credit_bytes = 0;
  uint64_t cumulative = 0;
  std::optional<AckLevel> level;
  std::string error_code;
  std::string error_text;
  std::string session;             ///< kSessionBytes bytes, or empty
  std::optional<uint64_t> offset;  ///< key 18: the ingest log is one partition, number 0
  uint64_t deadline_ms = 0;        ///< 0 = none
  int64_t as_of_ns = 0;
  uint64_t flags = 0;
  uint64_t minor_version = 0;
  /// Type ("text", "title", "json") and bytes
  std::vector<std::pair<std::string, std::string>> bodies;

  Message() = default;
  explicit Message(Command of, uint64_t answers = 0)
      : command(static_cast<uint64_t>(of)), request(answers) {}

  bool is(Command of) const { return command == static_cast<uint64_t>(of); }
  /// Bytes of the first body of a type; empty when there is none.
  std::string_view body(std::string_view type) const;
  /// Value of an attribute, or `fallback`.
  std::string attribute(const std::string& name, const std::string& fallback = "") const;
  /// Bytes of all bodies: what the message costs in credit.
  std::size_t body_bytes() const;
};

using Frames = std::vector<std::string>;

/// Frame 0, the header and the bodies. Throws InvalidArgument when the header passes its limit or a
/// body is larger than a frame may be.
Frames encode_message(const Message& message);

/// Parses and checks frames (without ROUTER's routing id). Throws ProtocolError: `version` for
/// another major, `too_large` for a limit, `bad_request` for everything else.
Message decode_message(const Frames& frames);

/// The header's bytes alone, as events carry them.
std::string encode_header(const Message& message);
Message decode_header(std::string_view header);

}  // namespace alluvium::service
