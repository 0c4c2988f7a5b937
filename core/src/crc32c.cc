#include "alluvium/core/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace alluvium {
namespace {

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1) ^ ((value & 1U) != 0U ? 0x82f63b78U : 0U);
    }
    table[byte] = value;
  }
  return table;
}

uint32_t extend_by_table(const uint8_t* bytes, std::size_t size, uint32_t state) {
  static constexpr std::array<uint32_t, 256> kTable = make_table();
  for (std::size_t i = 0; i < size; ++i) {
    state = kTable[(state ^ bytes[i]) & 0xffU] ^ (state >> 8);
  }
  return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t extend_by_instruction(const uint8_t* bytes,
                                                                 std::size_t size, uint32_t state) {
  uint64_t wide = state;
  for (; size >= 8; size -= 8, bytes += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof(word));
    wide = _mm_crc32_u64(wide, word);
  }
  auto narrow = static_cast<uint32_t>(wide);
  for (; size > 0; --size, ++bytes) {
    narrow = _mm_crc32_u8(narrow, *bytes);
  }
  return narrow;
}
#endif

}  // namespace

uint32_t crc32c(const void* bytes, std::size_t size, uint32_t crc) {
  const auto* first = static_cast<const uint8_t*>(bytes);
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) {
    return ~extend_by_instruction(first, size, ~crc);
  }
#endif
  return ~extend_by_table(first, size, ~crc);
}

}  // namespace alluvium
