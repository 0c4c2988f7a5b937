#include "gguf_metadata.h"

#include <limits>

namespace alluvium::backbone {
namespace {

enum class ValueType : uint32_t {
  uint8 = 0,
  int8 = 1,
  uint16 = 2,
  int16 = 3,
  uint32 = 4,
  int32 = 5,
  float32 = 6,
  boolean = 7,
  text = 8,
  array = 9,
  uint64 = 10,
  int64 = 11,
  float64 = 12,
};

ValueType read_type(ByteReader& reader, const std::string& key) {
  const auto number = reader.read<uint32_t>(key);
  if (number > static_cast<uint32_t>(ValueType::float64)) {
    reader.fail(fmt::format("value '{}' has type {}, the highest is {}", key, number,
                            static_cast<uint32_t>(ValueType::float64)));
  }
  return static_cast<ValueType>(number);
}

bool read_boolean(ByteReader& reader, const std::string& key) {
  const auto byte = reader.read<uint8_t>(key);
  if (byte > 1) {
    reader.fail(fmt::format("boolean '{}' is {}", key, byte));
  }
  return byte == 1;
}

int64_t read_unsigned_64(ByteReader& reader, const std::string& key) {
  const auto number = reader.read<uint64_t>(key);
  if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    reader.fail(fmt::format("integer '{}' is {}, above the 64-bit signed range", key, number));
  }
  return static_cast<int64_t>(number);
}

MetadataValue read_value(ByteReader& reader, ValueType type, const std::string& key);

// Least bytes an element takes in the file; a text is at least its length.
std::size_t least_bytes(ValueType type) {
  switch (type) {
    case ValueType::uint8:
    case ValueType::int8:
    case ValueType::boolean:
      return 1;
    case ValueType::uint16:
    case ValueType::int16:
      return 2;
    case ValueType::uint32:
    case ValueType::int32:
    case ValueType::float32:
      return 4;
    case ValueType::text:
    case ValueType::array:
    case ValueType::uint64:
    case ValueType::int64:
    case ValueType::float64:
      return 8;
  }
  throw InternalError("GGUF value type outside its enumeration");
}

template <class Element>
std::vector<Element> read_elements(ByteReader& reader, ValueType type, std::size_t count,
                                   const std::string& key) {
  std::vector<Element> elements;
  elements.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<Element, int64_t>) {
      elements.push_back(type == ValueType::boolean
                             ? int64_t{read_boolean(reader, key)}
                             : std::get<int64_t>(read_value(reader, type, key)));
    } else {
      elements.push_back(std::get<Element>(read_value(reader, type, key)));
    }
  }
  return elements;
}

MetadataValue read_array(ByteReader& reader, const std::string& key) {
  const ValueType type = read_type(reader, key);
  if (type == ValueType::array) {
    throw NotSupported(fmt::format("GGUF value '{}' is an array of arrays", key));
  }
  const std::size_t count = reader.read_count(least_bytes(type), key);
  if (type == ValueType::text) {
    return read_elements<std::string>(reader, type, count, key);
  }
  if (type == ValueType::float32 || type == ValueType::float64) {
    return read_elements<double>(reader, type, count, key);
  }
  return read_elements<int64_t>(reader, type, count, key);
}

MetadataValue read_value(ByteReader& reader, ValueType type, const std::string& key) {
  switch (type) {
    case ValueType::uint8:
      return int64_t{reader.read<uint8_t>(key)};
    case ValueType::int8:
      return int64_t{reader.read<int8_t>(key)};
    case ValueType::uint16:
      return int64_t{reader.read<uint16_t>(key)};
    case ValueType::int16:
      return int64_t{reader.read<int16_t>(key)};
    case ValueType::uint32:
      return int64_t{reader.read<uint32_t>(key)};
    case ValueType::int32:
      return int64_t{reader.read<int32_t>(key)};
    case ValueType::float32:
      return double{reader.read<float>(key)};
    case ValueType::boolean:
      return read_boolean(reader, key);
    case ValueType::text:
      return std::string(reader.read_text(key));
    case ValueType::array:
      return read_array(reader, key);
    case ValueType::uint64:
      return read_unsigned_64(reader, key);
    case ValueType::int64:
      return reader.read<int64_t>(key);
    case ValueType::float64:
      return reader.read<double>(key);
  }
  throw InternalError("GGUF value type outside its enumeration");
}

}  // namespace

MetadataValue read_gguf_value(ByteReader& reader, const std::string& key) {
  return read_value(reader, read_type(reader, key), key);
}

}  // namespace alluvium::backbone
