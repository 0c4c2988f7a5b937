#include "alluvium/service/wire_value.h"

#include <string>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium::service {
namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (const int value : values) {
    text.push_back(static_cast<char>(value));
  }
  return text;
}

/// A random value of bounded depth; small so that the encoding stays under the limits.
WireValue random_value(Random& random, int depth) {
  switch (random.below(depth > 0 ? 9 : 7)) {
    case 0:
      return {};
    case 1:
      return {random.below(2) == 1};
    case 2:
      return {random.next() >> random.below(64)};
    case 3:
      return {-1 - static_cast<int64_t>(random.next() >> 1 >> random.below(62))};
    case 4:
      return {random.normal()};
    case 5:
      return {std::string(random.below(300), 'x')};
    case 6:
      return {WireBytes{std::string(random.below(300), '\xff')}};
    case 7: {
      WireValue::Array array(random.below(20));
      for (WireValue& item : array) {
        item = random_value(random, depth - 1);
      }
      return {std::move(array)};
    }
    default: {
      WireValue::Map map(random.below(20));
      for (auto& [key, item] : map) {
        key = {random.next() >> 40};
        item = random_value(random, depth - 1);
      }
      return {std::move(map)};
    }
  }
}

TEST_CASE("wire_value: encodings are the specification's shortest forms", "[service][wire]") {
  // By hand from the MessagePack specification's table of formats.
  CHECK(encode_wire_value({}) == bytes({0xc0}));
  CHECK(encode_wire_value({true}) == bytes({0xc3}));
  CHECK(encode_wire_value({uint64_t{127}}) == bytes({0x7f}));
  CHECK(encode_wire_value({uint64_t{128}}) == bytes({0xcc, 0x80}));
  CHECK(encode_wire_value({uint64_t{256}}) == bytes({0xcd, 0x01, 0x00}));
  CHECK(encode_wire_value({uint64_t{65536}}) == bytes({0xce, 0, 1, 0, 0}));
  CHECK(encode_wire_value({uint64_t{1} << 32}) == bytes({0xcf, 0, 0, 0, 1, 0, 0, 0, 0}));
  CHECK(encode_wire_value({int64_t{-32}}) == bytes({0xe0}));
  CHECK(encode_wire_value({int64_t{-33}}) == bytes({0xd0, 0xdf}));
  CHECK(encode_wire_value({int64_t{-129}}) == bytes({0xd1, 0xff, 0x7f}));
  CHECK(encode_wire_value({1.0}) == bytes({0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0}));
  CHECK(encode_wire_value({std::string("ab")}) == bytes({0xa2, 'a', 'b'}));
  CHECK(encode_wire_value({WireBytes{"a"}}) == bytes({0xc4, 1, 'a'}));
  CHECK(encode_wire_value({WireValue::Map{{{uint64_t{0}}, {WireValue::Array{}}}}}) ==
        bytes({0x81, 0x00, 0x90}));
}

TEST_CASE("wire_value: what was encoded decodes to the same", "[service][wire][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  const WireValue value = random_value(random, 2);
  const WireLimits wide{std::size_t{1} << 24, 8, 256, 4096};
  CHECK(decode_wire_value(encode_wire_value(value), wide) == value);
}

TEST_CASE("wire_value: every cut of a valid encoding is refused", "[service][wire]") {
  const std::string whole = encode_wire_value(
      {WireValue::Map{{{uint64_t{0}}, {std::string("four")}},
                      {{uint64_t{1}}, {WireValue::Array{{uint64_t{70000}}, {WireBytes{"xyz"}}}}},
                      {{uint64_t{2}}, {-2.5}}}});
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    CHECK_THROWS_AS(decode_wire_value(whole.substr(0, length)), InvalidArgument);
  }
  CHECK_THROWS_WITH(decode_wire_value(whole + '\x01'), Catch::Matchers::Contains("1 bytes follow"));
}

TEST_CASE("wire_value: limits hold before anything is allocated", "[service][wire]") {
  SECTION("a string longer than the message") {
    CHECK_THROWS_WITH(decode_wire_value(bytes({0xdb, 0xff, 0xff, 0xff, 0xff, 'a'})),
                      Catch::Matchers::Contains("truncated"));
  }
  SECTION("an array of four thousand million entries") {
    CHECK_THROWS_AS(decode_wire_value(bytes({0xdd, 0xff, 0xff, 0xff, 0xff})), InvalidArgument);
  }
  SECTION("a map of more than 256 entries") {
    CHECK_THROWS_WITH(decode_wire_value(bytes({0xde, 0x01, 0x01}) + std::string(1000, '\0')),
                      Catch::Matchers::Contains("257 entries"));
  }
  SECTION("containers nested deeper than 8") {
    CHECK_NOTHROW(decode_wire_value(std::string(7, '\x91') + '\x90'));
    CHECK_THROWS_WITH(decode_wire_value(std::string(8, '\x91') + '\x90'),
                      Catch::Matchers::Contains("deeper than 8"));
  }
  SECTION("more than 64 KiB") {
    CHECK_THROWS_AS(decode_wire_value(std::string(70000, '\x90')), InvalidArgument);
  }
  SECTION("an extension type, and the byte the format never uses") {
    CHECK_THROWS_AS(decode_wire_value(bytes({0xd4, 0x01, 0x02})), InvalidArgument);
    CHECK_THROWS_AS(decode_wire_value(bytes({0xc1})), InvalidArgument);
  }
  SECTION("text that is not UTF-8") {
    CHECK_THROWS_WITH(decode_wire_value(bytes({0xa2, 0xc3, 0x28})),
                      Catch::Matchers::Contains("not UTF-8"));
  }
}

TEST_CASE("wire_value: random and damaged bytes decode or are refused, nothing else",
          "[service][wire][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  int decoded = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string input = encode_wire_value(random_value(random, 2));
    for (uint64_t i = 0; i <= random.below(3); ++i) {
      input[random.below(input.size())] = static_cast<char>(random.next());
    }
    try {
      const WireValue value = decode_wire_value(input);
      // What decodes must survive another trip: no value outside the types we write.
      CHECK(decode_wire_value(encode_wire_value(value)).value.index() == value.value.index());
      ++decoded;
    } catch (const InvalidArgument&) {
    }
  }
  CHECK(decoded > 0);
  CHECK(decoded < 2000);
}

}  // namespace
}  // namespace alluvium::service
