#include "alluvium/core/utf8.h"

#include <algorithm>
#include <cstdint>

namespace alluvium {
namespace {

/// Bytes of the sequence that starts at `at`: 1 to 4, or 0 when it is malformed. `cut` is set when it is well-formed so far but
/// the text ends inside it.
std::size_t sequence_length(std::string_view text, std::size_t at, bool& cut) {
  const auto byte = [&](std::size_t i) { return static_cast<uint8_t>(text[i]); };
  cut = false;
  const uint8_t lead = byte(at);
  if (lead < 0x80) {
    return 1;
  }
  std::size_t length = 0;
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    low = lead == 0xe0 ? 0xa0 : low;    // overlong
    high = lead == 0xed ? 0x9f : high;  // surrogates
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    low = lead == 0xf0 ? 0x90 : low;    // overlong
    high = lead == 0xf4 ? 0x8f : high;  // above U+10FFFF
  } else {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i >= text.size()) {
      cut = true;
      return 0;
    }
    if (byte(at + i) < low || byte(at + i) > high) {
      return 0;
    }
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

}  // namespace

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  bool cut = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at, cut);
    if (length == 0) {
      return at;
    }
    at += length;
  }
  return std::nullopt;
}

std::size_t complete_utf8_prefix(std::string_view text) {
  // Only the last three bytes can begin a sequence that the end cuts.
  const std::size_t first = text.size() - std::min<std::size_t>(3, text.size());
  for (std::size_t at = first; at < text.size(); ++at) {
    bool cut = false;
    if (sequence_length(text, at, cut) == 0 && cut) {
      return at;
    }
  }
  return text.size();
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  bool cut = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at, cut);
    if (length == 0) {
      clean += "\xef\xbf\xbd";
      ++at;
    } else {
      clean.append(text.substr(at, length));
      at += length;
    }
  }
  return clean;
}

}  // namespace alluvium
