#include "alluvium/core/utf8.h"

#include <cstdint>
#include <string>

#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium {
namespace {

std::string encode(uint32_t code) {
  std::string text;
  const auto continuation = [&](int shift) {
    text += static_cast<char>(0x80 | ((code >> shift) & 0x3f));
  };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0 | (code >> 6));
    continuation(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0 | (code >> 12));
    continuation(6);
    continuation(0);
  } else {
    text += static_cast<char>(0xf0 | (code >> 18));
    continuation(12);
    continuation(6);
    continuation(0);
  }
  return text;
}

TEST_CASE("utf8: every scalar value is valid and every surrogate is not",
          "[core][utf8][property]") {
  for (uint32_t code = 0; code <= 0x10ffff; code += code < 0x11000 ? 1 : 13) {
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    CAPTURE(code);
    REQUIRE(find_invalid_utf8(encode(code)).has_value() == surrogate);
  }
  CHECK_FALSE(find_invalid_utf8(encode(0x10ffff)).has_value());
}

TEST_CASE("utf8: malformed sequences are found at their first byte", "[core][utf8]") {
  const auto [bytes, at] = GENERATE(table<std::string, std::size_t>({
      {"\x80", 0},                  // continuation alone
      {"ab\xff", 2},                // never a byte of UTF-8
      {"\xc0\xaf", 0},              // overlong
      {"\xc1\xbf", 0},              // overlong
      {"\xe0\x9f\xbf", 0},          // overlong
      {"\xf0\x8f\xbf\xbf", 0},      // overlong
      {"\xed\xa0\x80", 0},          // surrogate
      {"\xf4\x90\x80\x80", 0},      // above U+10FFFF
      {"\xf5\x80\x80\x80", 0},      // above U+10FFFF
      {"a\xc3(", 1},                // no continuation
      {"\xe2\x82", 0},              // cut
      {"\xe2\x82\xac\xf0\x9f", 3},  // cut after a whole one
  }));
  CAPTURE(bytes);
  CHECK(find_invalid_utf8(bytes) == at);
}

TEST_CASE("utf8: the complete prefix leaves out only a sequence that the end cuts",
          "[core][utf8]") {
  CHECK(complete_utf8_prefix("") == 0);
  CHECK(complete_utf8_prefix("abc") == 3);
  CHECK(complete_utf8_prefix("a\xe2\x82") == 1);
  CHECK(complete_utf8_prefix("a\xe2\x82\xac") == 4);
  CHECK(complete_utf8_prefix("\xf0\x9f\x98") == 0);
  CHECK(complete_utf8_prefix("x\xf0") == 1);
  // What no later byte can complete is not held back.
  CHECK(complete_utf8_prefix("a\xff") == 2);
  CHECK(complete_utf8_prefix("a\x80") == 2);
  CHECK(complete_utf8_prefix("\xf0\x28") == 2);
}

TEST_CASE("utf8: text cut anywhere streams out whole", "[core][utf8][property]") {
  const std::string text = "na\u00efve \u20ac \U0001f30a \u4e2d\u6587";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    CAPTURE(cut);
    const std::string head = text.substr(0, cut);
    const std::size_t shown = complete_utf8_prefix(head);
    REQUIRE_FALSE(find_invalid_utf8(head.substr(0, shown)).has_value());
    REQUIRE(cut - shown < 4);
  }
}

TEST_CASE("utf8: replacement keeps valid text and makes any bytes valid",
          "[core][utf8][property]") {
  CHECK(replace_invalid_utf8("plain \u20ac") == "plain \u20ac");
  CHECK(replace_invalid_utf8("a\xff"
                             "b") ==
        "a\ufffd"
        "b");
  CHECK(replace_invalid_utf8("") == "");
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  std::string bytes(random.below(200), '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(random.below(256));
  }
  const std::string clean = replace_invalid_utf8(bytes);
  CHECK_FALSE(find_invalid_utf8(clean).has_value());
  CHECK(replace_invalid_utf8(clean) == clean);
}

}  // namespace
}  // namespace alluvium
