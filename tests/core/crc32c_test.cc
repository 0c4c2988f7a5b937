#include "alluvium/core/crc32c.h"

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium {
namespace {

/// The definition, one bit at a time.
uint32_t slow_crc32c(const std::vector<uint8_t>& bytes) {
  uint32_t state = 0xffffffffU;
  for (const uint8_t byte : bytes) {
    state ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      state = (state >> 1) ^ ((state & 1U) != 0U ? 0x82f63b78U : 0U);
    }
  }
  return ~state;
}

std::vector<uint8_t> random_bytes(Random& random, std::size_t size) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(random.below(256));
  }
  return bytes;
}

TEST_CASE("crc32c: known values come out", "[core][crc32c][oracle]") {
  // RFC 3720, appendix B.4: 32 bytes of 00, 32 of ff, 00 to 1f; and the catalogue's check value.
  std::array<uint8_t, 32> bytes{};
  CHECK(crc32c(bytes.data(), bytes.size()) == 0x8a9136aaU);
  bytes.fill(0xff);
  CHECK(crc32c(bytes.data(), bytes.size()) == 0x62a8ab43U);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  CHECK(crc32c(bytes.data(), bytes.size()) == 0x46dd794eU);
  CHECK(crc32c("123456789", 9) == 0xe3069283U);
}

TEST_CASE("crc32c: no bytes leave the sum as it is", "[core][crc32c]") {
  CHECK(crc32c("", 0) == 0);
  CHECK(crc32c("", 0, 0x12345678U) == 0x12345678U);
}

TEST_CASE("crc32c: it equals the bit by bit definition, whole and in two pieces",
          "[core][crc32c][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  const auto bytes = random_bytes(random, random.below(200));
  const uint32_t expected = slow_crc32c(bytes);
  CHECK(crc32c(bytes.data(), bytes.size()) == expected);
  const std::size_t cut = random.below(bytes.size() + 1);
  const uint32_t first = crc32c(bytes.data(), cut);
  CHECK(crc32c(bytes.data() + cut, bytes.size() - cut, first) == expected);
}

TEST_CASE("crc32c: every flipped bit of a record changes it", "[core][crc32c][property]") {
  Random random(1);
  auto bytes = random_bytes(random, 64);
  const uint32_t whole = crc32c(bytes.data(), bytes.size());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto mask = static_cast<uint8_t>(1U << (bit % 8));
    bytes[bit / 8] ^= mask;
    REQUIRE(crc32c(bytes.data(), bytes.size()) != whole);
    bytes[bit / 8] ^= mask;
  }
}

}  // namespace
}  // namespace alluvium
