#include "alluvium/service/wire_value.h"

#include <bit>

#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"

namespace alluvium::service {
namespace {

// ---- Encoding

void put_big_endian(std::string& out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) {
    out.push_back(static_cast<char>(value >> (8 * i)));
  }
}

/// A length with its marker: `fixed` marks lengths below `fixed_limit`; `marker8` 0 means the type
/// has no 8-bit form.
void put_length(std::string& out, std::size_t length, int fixed, std::size_t fixed_limit,
                int marker8, int marker16) {
  if (length < fixed_limit) {
    out.push_back(static_cast<char>(fixed | static_cast<int>(length)));
  } else if (marker8 != 0 && length <= 0xff) {
    out.push_back(static_cast<char>(marker8));
    put_big_endian(out, length, 1);
  } else if (length <= 0xffff) {
    out.push_back(static_cast<char>(marker16));
    put_big_endian(out, length, 2);
  } else {
    out.push_back(static_cast<char>(marker16 + 1));
    put_big_endian(out, length, 4);
  }
}

void put_unsigned(std::string& out, uint64_t value) {
  if (value < 0x80) {
    out.push_back(static_cast<char>(value));
  } else if (value <= 0xff) {
    out.push_back('\xcc');
    put_big_endian(out, value, 1);
  } else if (value <= 0xffff) {
    out.push_back('\xcd');
    put_big_endian(out, value, 2);
  } else if (value <= 0xffffffff) {
    out.push_back('\xce');
    put_big_endian(out, value, 4);
  } else {
    out.push_back('\xcf');
    put_big_endian(out, value, 8);
  }
}

void put_signed(std::string& out, int64_t value) {
  if (value >= 0) {
    put_unsigned(out, static_cast<uint64_t>(value));
    return;
  }
  const auto bits = static_cast<uint64_t>(value);
  if (value >= -32) {
    put_big_endian(out, bits, 1);
  } else if (value >= INT8_MIN) {
    out.push_back('\xd0');
    put_big_endian(out, bits, 1);
  } else if (value >= INT16_MIN) {
    out.push_back('\xd1');
    put_big_endian(out, bits, 2);
  } else if (value >= INT32_MIN) {
    out.push_back('\xd2');
    put_big_endian(out, bits, 4);
  } else {
    out.push_back('\xd3');
    put_big_endian(out, bits, 8);
  }
}

class Encoder {
 public:
  void put(const WireValue& value) {
    std::visit([this](const auto& held) { put_held(held); }, value.value);
  }

  std::string out;

 private:
  void put_held(std::monostate) { out.push_back('\xc0'); }
  void put_held(bool value) { out.push_back(value ? '\xc3' : '\xc2'); }
  void put_held(uint64_t value) { put_unsigned(out, value); }
  void put_held(int64_t value) { put_signed(out, value); }
  void put_held(double value) {
    out.push_back('\xcb');
    put_big_endian(out, std::bit_cast<uint64_t>(value), 8);
  }
  void put_held(const std::string& text) {
    put_length(out, text.size(), 0xa0, 32, 0xd9, 0xda);
    out += text;
  }
  void put_held(const WireBytes& bytes) {
    put_length(out, bytes.bytes.size(), 0, 0, 0xc4, 0xc5);
    out += bytes.bytes;
  }
  void put_held(const WireValue::Array& array) {
    put_length(out, array.size(), 0x90, 16, 0, 0xdc);
    for (const WireValue& item : array) {
      put(item);
    }
  }
  void put_held(const WireValue::Map& map) {
    put_length(out, map.size(), 0x80, 16, 0, 0xde);
    for (const auto& [key, item] : map) {
      put(key);
      put(item);
    }
  }
};

// ---- Decoding

class Decoder {
 public:
  Decoder(std::string_view bytes, const WireLimits& limits) : bytes_(bytes), limits_(limits) {}

  WireValue whole() {
    WireValue value = next(0);
    ALLUVIUM_CHECK(offset_ == bytes_.size(), "{} bytes follow the value that ends at byte {}",
                   bytes_.size() - offset_, offset_);
    return value;
  }

 private:
  std::size_t left() const { return bytes_.size() - offset_; }

  std::string_view take(std::size_t length) {
    ALLUVIUM_CHECK(length <= left(), "truncated at byte {}: {} bytes wanted, {} left", offset_,
                   length, left());
    const std::string_view taken = bytes_.substr(offset_, length);
    offset_ += length;
    return taken;
  }

  uint64_t integer(int bytes) {
    uint64_t value = 0;
    for (const char byte : take(static_cast<std::size_t>(bytes))) {
      value = value << 8 | static_cast<uint8_t>(byte);
    }
    return value;
  }

  /// A two's-complement integer of `bytes` bytes; non-negative ones become unsigned.
  static WireValue signed_value(uint64_t bits, int bytes) {
    const int unused = 64 - 8 * bytes;
    const auto value = static_cast<int64_t>(bits << unused) >> unused;
    return value >= 0 ? WireValue{static_cast<uint64_t>(value)} : WireValue{value};
  }

  WireValue text(uint64_t length) {
    const std::size_t begin = offset_;
    std::string value(take(length));
    const auto invalid = find_invalid_utf8(value);
    ALLUVIUM_CHECK(!invalid, "text at byte {} is not UTF-8 at its byte {}", begin, *invalid);
    return {std::move(value)};
  }

  WireValue binary(uint64_t length) { return {WireBytes{std::string(take(length))}}; }

  void check_container(uint64_t entries, std::size_t limit, std::size_t bytes_each,
                       int64_t depth) const {
    ALLUVIUM_CHECK(depth < limits_.depth, "nested deeper than {} at byte {}", limits_.depth,
                   offset_);
    ALLUVIUM_CHECK(entries <= limit, "{} entries at byte {}, the limit is {}", entries, offset_,
                   limit);
    // Every entry takes at least one byte a value, so a count beyond that is a lie told to make us
    // allocate.
    ALLUVIUM_CHECK(entries * bytes_each <= left(),
                   "truncated at byte {}: {} entries announced, {} bytes left", offset_, entries,
                   left());
  }

  WireValue array(uint64_t entries, int64_t depth) {
    check_container(entries, limits_.array_entries, 1, depth);
    WireValue::Array items;
    for (uint64_t i = 0; i < entries; ++i) {
      items.push_back(next(depth + 1));
    }
    return {std::move(items)};
  }

  WireValue map(uint64_t entries, int64_t depth) {
    check_container(entries, limits_.map_entries, 2, depth);
    WireValue::Map items;
    for (uint64_t i = 0; i < entries; ++i) {
      WireValue key = next(depth + 1);
      items.emplace_back(std::move(key), next(depth + 1));
    }
    return {std::move(items)};
  }

  WireValue next(int64_t depth) {
    const auto marker = static_cast<uint8_t>(take(1)[0]);
    if (marker < 0x80) {
      return {uint64_t{marker}};
    }
    if (marker < 0x90) {
      return map(marker & 0x0f, depth);
    }
    if (marker < 0xa0) {
      return array(marker & 0x0f, depth);
    }
    if (marker < 0xc0) {
      return text(marker & 0x1f);
    }
    return marker >= 0xe0 ? signed_value(marker, 1) : marked(marker, depth);
  }

  WireValue marked(uint8_t marker, int64_t depth) {
    switch (marker) {
      case 0xc0:
        return {};
      case 0xc2:
        return {false};
      case 0xc3:
        return {true};
      case 0xc4:
        return binary(integer(1));
      case 0xc5:
        return binary(integer(2));
      case 0xc6:
        return binary(integer(4));
      case 0xca:
        return {double{std::bit_cast<float>(static_cast<uint32_t>(integer(4)))}};
      case 0xcb:
        return {std::bit_cast<double>(integer(8))};
      case 0xcc:
        return {integer(1)};
      case 0xcd:
        return {integer(2)};
      case 0xce:
        return {integer(4)};
      case 0xcf:
        return {integer(8)};
      case 0xd0:
        return signed_value(integer(1), 1);
      case 0xd1:
        return signed_value(integer(2), 2);
      case 0xd2:
        return signed_value(integer(4), 4);
      case 0xd3:
        return signed_value(integer(8), 8);
      case 0xd9:
        return text(integer(1));
      case 0xda:
        return text(integer(2));
      case 0xdb:
        return text(integer(4));
      case 0xdc:
        return array(integer(2), depth);
      case 0xdd:
        return array(integer(4), depth);
      case 0xde:
        return map(integer(2), depth);
      case 0xdf:
        return map(integer(4), depth);
      default:
        throw InvalidArgument(
            fmt::format("type 0x{:02x} at byte {} is not supported", marker, offset_ - 1));
    }
  }

  std::string_view bytes_;
  const WireLimits& limits_;
  std::size_t offset_ = 0;
};

}  // namespace

std::string encode_wire_value(const WireValue& value) {
  Encoder encoder;
  encoder.put(value);
  return std::move(encoder.out);
}

WireValue decode_wire_value(std::string_view bytes, const WireLimits& limits) {
  ALLUVIUM_CHECK(bytes.size() <= limits.bytes, "{} bytes, the limit is {}", bytes.size(),
                 limits.bytes);
  return Decoder(bytes, limits).whole();
}

}  // namespace alluvium::service
