#include "byte_alphabet.h"

#include <array>

#include "code_points.h"

namespace alluvium::backbone {
namespace {

constexpr std::size_t kAlphabetEnd = 0x100 + 68;
constexpr int kNoByte = -1;

constexpr bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

constexpr std::array<int, kAlphabetEnd> make_bytes() {
  std::array<int, kAlphabetEnd> bytes{};
  for (int& byte : bytes) {
    byte = kNoByte;
  }
  std::size_t next = 0x100;
  for (int byte = 0; byte < 0x100; ++byte) {
    const std::size_t letter = stands_for_itself(byte) ? static_cast<std::size_t>(byte) : next++;
    bytes[letter] = byte;
  }
  return bytes;
}

constexpr std::array<int, kAlphabetEnd> kBytes = make_bytes();

}  // namespace

std::optional<std::string> bytes_of_piece(std::string_view piece) {
  std::string bytes;
  for (std::size_t at = 0; at < piece.size();) {
    const CodePoint point = code_point_at(piece, at);
    if (point.value >= kAlphabetEnd || kBytes[point.value] == kNoByte) {
      return std::nullopt;
    }
    bytes += static_cast<char>(kBytes[point.value]);
    at += point.bytes;
  }
  return bytes;
}

}  // namespace alluvium::backbone
