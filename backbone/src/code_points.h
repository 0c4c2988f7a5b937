// UTF-8 text as a sequence of code points.
//
// Differs: a byte that starts no well-formed sequence (RFC 3629) is one code point of its own, kMalformed.
// Threads: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace alluvium::backbone {

/// Stands for a malformed byte; no code point has this value.
inline constexpr char32_t kMalformed = 0xffffffff;

struct CodePoint {
  char32_t value = kMalformed;
  uint32_t bytes = 1;  ///< of the text it takes
};

/// The code point at `offset`, which must lie inside `text`.
inline CodePoint code_point_at(std::string_view text, std::size_t offset) {
  const auto first = static_cast<uint8_t>(text[offset]);
  if (first < 0x80) {
    return {first, 1};
  }
  const uint32_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() - offset < bytes) {
    return {};
  }
  char32_t value = first & (0x7fU >> bytes);
  for (uint32_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<uint8_t>(text[offset + i]);
    if ((next & 0xc0) != 0x80) {
      return {};
    }
    value = value << 6 | (next & 0x3f);
  }
  const bool overlong = value < (bytes == 4 ? 0x10000U : bytes == 3 ? 0x800U : 0x80U);
  const bool surrogate = value >= 0xd800 && value < 0xe000;
  if (overlong || surrogate || value > 0x10ffff) {
    return {};
  }
  return {value, bytes};
}

/// Appends the UTF-8 form of a code point below 0x110000.
inline void append_utf8(char32_t value, std::string& to) {
  const auto tail = [&](int shift) { to += static_cast<char>(0x80 | (value >> shift & 0x3f)); };
  if (value < 0x80) {
    to += static_cast<char>(value);
  } else if (value < 0x800) {
    to += static_cast<char>(0xc0 | value >> 6);
    tail(0);
  } else if (value < 0x10000) {
    to += static_cast<char>(0xe0 | value >> 12);
    tail(6);
    tail(0);
  } else {
    to += static_cast<char>(0xf0 | value >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace alluvium::backbone
