#include "alluvium/streams/dates.h"

#include <string>

#include "support/catch.h"

namespace alluvium::streams {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kDay = 86'400 * kSecond;

TEST_CASE("dates: ISO dates and times give microseconds since 1970", "[streams][dates]") {
  const auto [text, expected] = GENERATE(table<std::string, int64_t>({
      {"1970-01-01", 0},
      {"1970-01-02", kDay},
      {"1969-12-31", -kDay},
      {"2000-03-01", 11'017 * kDay},  // 30 years, 7 leap days, January and a 29-day February
      {"1970-01-01T00:00:01Z", kSecond},
      {"1970-01-01t01:00z", 3600 * kSecond},
      {"1970-01-01 00:00:01", kSecond},
      {"1970-01-01T02:00:00+02:00", 0},
      {"1970-01-01T00:00:00-0130", 5400 * kSecond},
      {"1970-01-01T00:00:00.25Z", kSecond / 4},
      {"1970-01-01T00:00:00.1234567Z", 123'456},
      {"1970-01-01T00:00:60Z", 60 * kSecond},
  }));
  CAPTURE(text);
  CHECK(parse_iso_date(text) == expected);
}

TEST_CASE("dates: what is no ISO date is refused", "[streams][dates]") {
  const std::string text =
      GENERATE(as<std::string>{}, "", "2024", "2024-02", "2024-2-01", "2024-02-30", "2023-02-29",
               "2024-13-01", "2024-00-01", "2024-01-01T", "2024-01-01T24:00:00Z",
               "2024-01-01T10:61:00Z", "2024-01-01T10:00:00.Z", "2024-01-01T10:00:00+2",
               "2024-01-01T10:00:00+25:00", "2024-01-01T10:00:00Z ", " 2024-01-01", "yesterday");
  CAPTURE(text);
  CHECK_FALSE(parse_iso_date(text).has_value());
}

TEST_CASE("dates: a mail date keeps the day of its own offset", "[streams][dates]") {
  const auto date = parse_mail_date("Thu, 06 Apr 1995 01:30:00 +0200");
  REQUIRE(date.has_value());
  CHECK(date->day == "1995-04-06");
  CHECK(date->time_us == parse_iso_date("1995-04-05T23:30:00Z"));
}

TEST_CASE("dates: mail dates may lack the weekday and pad their day with blanks",
          "[streams][dates]") {
  const auto expected = parse_iso_date("2001-09-03T04:05:06Z");
  const std::string text =
      GENERATE(as<std::string>{}, "Mon, 03 Sep 2001 04:05:06 +0000",
               "Mon,  3 Sep 2001 04:05:06 +0000", "3 Sep 2001 04:05:06 +0000",
               "Mon, 3 September 2001 4:05:06 -0000", "Mon, 03 sep 2001 06:05:06 +0200 (CEST)");
  CAPTURE(text);
  const auto date = parse_mail_date(text);
  REQUIRE(date.has_value());
  CHECK(date->time_us == expected);
  CHECK(date->day == "2001-09-03");
}

TEST_CASE("dates: what is no mail date is refused", "[streams][dates]") {
  const std::string text =
      GENERATE(as<std::string>{}, "", "2001-09-03", "Mon, 31 Feb 2001 04:05:06 +0000",
               "Mon, 03 Xxx 2001 04:05:06 +0000", "Mon, 03 Sep 01 04:05:06 +0000",
               "Mon, 03 Sep 2001 04:05:06", "Mon, 03 Sep 2001 04:05 +0000");
  CAPTURE(text);
  CHECK_FALSE(parse_mail_date(text).has_value());
}

}  // namespace
}  // namespace alluvium::streams
