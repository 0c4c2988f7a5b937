// The header map: Message fields to integer keys and back.
#include "alluvium/service/protocol.h"

namespace alluvium::service {
namespace {

// ---- Writing: a field at its default stays away, so that messages are small and old readers see
// what they know.

class HeaderWriter {
 public:
  void number(HeaderKey key, uint64_t value) {
    if (value != 0) {
      add(key, value);
    }
  }
  void signed_number(HeaderKey key, int64_t value) {
    if (value != 0) {
      add(key, value);
    }
  }
  void text(HeaderKey key, const std::string& value) {
    if (!value.empty()) {
      add(key, value);
    }
  }

  /// Assigned in place rather than moved in as a WireValue: GCC 12 takes such moves for uninitialised reads.
  template <class T>
  void add(HeaderKey key, T value) {
    auto& [name, held] = map_.emplace_back();
    name.value = static_cast<uint64_t>(key);
    held.value = std::move(value);
  }

  std::string finish() { return encode_wire_value({std::move(map_)}); }

 private:
  WireValue::Map map_;
};

void write_attributes(HeaderWriter& writer, const Message& message) {
  if (message.attributes.empty()) {
    return;
  }
  WireValue::Map attributes;
  for (const auto& [name, value] : message.attributes) {
    auto& [key, text] = attributes.emplace_back();
    key.value = name;
    text.value = value;
  }
  writer.add(HeaderKey::attributes, std::move(attributes));
}

void write_bodies(HeaderWriter& writer, const Message& message) {
  if (message.bodies.empty()) {
    return;
  }
  WireValue::Array types;
  for (const auto& [type, bytes] : message.bodies) {
    types.emplace_back().value = type;
  }
  writer.add(HeaderKey::body_types, std::move(types));
  writer.add(HeaderKey::body_count, uint64_t{message.bodies.size()});
}

// ---- Reading

template <class T>
const T& expect(const WireValue& value, uint64_t key, const char* wanted) {
  const T* held = std::get_if<T>(&value.value);
  ALLUVIUM_CHECK(held != nullptr, "header key {} must be {}", key, wanted);
  return *held;
}

uint64_t read_number(const WireValue& value, uint64_t key) {
  return expect<uint64_t>(value, key, "an unsigned integer");
}

int64_t read_signed(const WireValue& value, uint64_t key) {
  if (const auto* negative = std::get_if<int64_t>(&value.value)) {
    return *negative;
  }
  const uint64_t number = read_number(value, key);
  ALLUVIUM_CHECK(number <= uint64_t{INT64_MAX}, "header key {} is {}, past 2^63 - 1", key, number);
  return static_cast<int64_t>(number);
}

const std::string& read_text(const WireValue& value, uint64_t key) {
  return expect<std::string>(value, key, "a string");
}

void read_attributes(Message& message, const WireValue& value, uint64_t key) {
  for (const auto& [name, text] : expect<WireValue::Map>(value, key, "a map")) {
    message.attributes[read_text(name, key)] = read_text(text, key);
  }
}

void read_session(Message& message, const WireValue& value, uint64_t key) {
  message.session = expect<WireBytes>(value, key, "bytes").bytes;
  ALLUVIUM_CHECK(message.session.size() == kSessionBytes, "a session id has {} bytes, got {}",
                 kSessionBytes, message.session.size());
}

void read_body_types(Message& message, const WireValue& value, uint64_t key) {
  const auto& types = expect<WireValue::Array>(value, key, "an array");
  ALLUVIUM_CHECK(types.size() <= kBodyLimit, "{} bodies, the limit is {}", types.size(),
                 kBodyLimit);
  message.bodies.clear();
  for (const WireValue& type : types) {
    message.bodies.emplace_back(read_text(type, key), "");
  }
}

void read_token(Message& message, const WireValue& value, uint64_t key) {
  for (const auto& [partition, offset] : expect<WireValue::Map>(value, key, "a map")) {
    if (read_number(partition, key) == 0) {
      message.offset = read_number(offset, key);
    }
  }
}

/// Reads one field; false when the key is unknown.
bool read_field(Message& message, uint64_t key, const WireValue& value) {
  switch (static_cast<HeaderKey>(key)) {
    case HeaderKey::command:
      message.command = read_number(value, key);
      return true;
    case HeaderKey::request:
      message.request = read_number(value, key);
      return true;
    case HeaderKey::name_space:
      message.name_space = read_text(value, key);
      return true;
    case HeaderKey::document_id:
      message.document_id = read_text(value, key);
      return true;
    case HeaderKey::version:
      message.version = read_number(value, key);
      return true;
    case HeaderKey::sequence:
      message.sequence = read_number(value, key);
      return true;
    case HeaderKey::timestamp_ns:
      message.timestamp_ns = read_signed(value, key);
      return true;
    case HeaderKey::attributes:
      read_attributes(message, value, key);
      return true;
    case HeaderKey::body_types:
      read_body_types(message, value, key);
      return true;
    case HeaderKey::body_count:
      read_number(value, key);
      return true;
    case HeaderKey::credit_messages:
      message.credit_messages = read_number(value, key);
      return true;
    case HeaderKey::credit_bytes:
      message.credit_bytes = read_number(value, key);
      return true;
    case HeaderKey::cumulative:
      message.cumulative = read_number(value, key);
      return true;
    case HeaderKey::level: {
      const uint64_t level = read_number(value, key);
      ALLUVIUM_CHECK(level <= static_cast<uint64_t>(AckLevel::applied),
                     "level must be 0, 1 or 2, got {}", level);
      message.level = static_cast<AckLevel>(level);
      return true;
    }
    case HeaderKey::error_code:
      message.error_code = read_text(value, key);
      return true;
    case HeaderKey::error_text:
      message.error_text = read_text(value, key);
      return true;
    case HeaderKey::session:
      read_session(message, value, key);
      return true;
    case HeaderKey::token:
      read_token(message, value, key);
      return true;
    case HeaderKey::deadline_ms:
      message.deadline_ms = read_number(value, key);
      return true;
    case HeaderKey::as_of_ns:
      message.as_of_ns = read_signed(value, key);
      return true;
    case HeaderKey::flags:
      message.flags = read_number(value, key);
      return true;
    case HeaderKey::minor_version:
      message.minor_version = read_number(value, key);
      return true;
    case HeaderKey::ranges:
    case HeaderKey::adapter:
      break;
  }
  return false;
}

Message read_fields(const WireValue::Map& map) {
  Message message;
  bool has_command = false;
  std::optional<uint64_t> unknown;
  try {
    std::set<uint64_t> seen;
    for (const auto& [key, value] : map) {
      const uint64_t number = read_number(key, 0);
      ALLUVIUM_CHECK(seen.insert(number).second, "header key {} comes twice", number);
      has_command |= number == static_cast<uint64_t>(HeaderKey::command);
      if (!read_field(message, number, value)) {
        unknown = number;
      }
    }
    ALLUVIUM_CHECK(has_command, "the header names no command (key 0)");
    ALLUVIUM_CHECK((message.flags & kFlagRequired) == 0 || !unknown,
                   "header key {} is required and not known here", unknown.value_or(0));
  } catch (const InvalidArgument& error) {
    throw ProtocolError(WireError::bad_request, error.what(), message.request);
  }
  return message;
}

}  // namespace

std::string encode_header(const Message& message) {
  HeaderWriter writer;
  writer.add(HeaderKey::command, message.command);
  writer.number(HeaderKey::request, message.request);
  writer.text(HeaderKey::name_space, message.name_space);
  writer.text(HeaderKey::document_id, message.document_id);
  writer.number(HeaderKey::version, message.version);
  writer.number(HeaderKey::sequence, message.sequence);
  writer.signed_number(HeaderKey::timestamp_ns, message.timestamp_ns);
  write_attributes(writer, message);
  write_bodies(writer, message);
  writer.number(HeaderKey::credit_messages, message.credit_messages);
  writer.number(HeaderKey::credit_bytes, message.credit_bytes);
  writer.number(HeaderKey::cumulative, message.cumulative);
  if (message.level) {
    writer.add(HeaderKey::level, static_cast<uint64_t>(*message.level));
  }
  writer.text(HeaderKey::error_code, message.error_code);
  writer.text(HeaderKey::error_text, message.error_text);
  if (!message.session.empty()) {
    writer.add(HeaderKey::session, WireBytes{message.session});
  }
  if (message.offset) {
    WireValue::Map offsets(1);
    offsets[0].first.value = uint64_t{0};
    offsets[0].second.value = *message.offset;
    writer.add(HeaderKey::token, std::move(offsets));
  }
  writer.number(HeaderKey::deadline_ms, message.deadline_ms);
  writer.signed_number(HeaderKey::as_of_ns, message.as_of_ns);
  writer.number(HeaderKey::flags, message.flags);
  writer.number(HeaderKey::minor_version, message.minor_version);
  return writer.finish();
}

Message decode_header(std::string_view header) {
  const WireLimits limits;
  if (header.size() > limits.bytes) {
    throw ProtocolError(
        WireError::too_large,
        fmt::format("the header has {} bytes, the limit is {}", header.size(), limits.bytes));
  }
  try {
    const WireValue value = decode_wire_value(header, limits);
    const auto* map = std::get_if<WireValue::Map>(&value.value);
    ALLUVIUM_CHECK(map != nullptr, "it is not a map");
    return read_fields(*map);
  } catch (const ProtocolError&) {
    throw;
  } catch (const InvalidArgument& error) {
    throw ProtocolError(WireError::bad_request, fmt::format("malformed header: {}", error.what()));
  }
}

}  // namespace alluvium::service
