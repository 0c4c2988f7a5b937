// Dates as documents carry them, to microseconds since the epoch.
//
// Source : RFC 3339 (the profile of ISO 8601 that JSON uses) and RFC 2822 (mail and Debian
// changelogs). Threads: thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace alluvium::streams {

/// "2024-05-01", "2024-05-01T12:30:00Z", "2024-05-01 12:30:00.25+02:00"; a time without offset is
/// UTC, a date is its midnight. Nothing when the text is anything else or names a day or time that
/// does not exist. Fractions past microseconds are cut.
std::optional<int64_t> parse_iso_date(std::string_view text);

/// A date of RFC 2822 and its calendar day in its own offset.
struct MailDate {
  int64_t time_us = 0;
  std::string day;  ///< YYYY-MM-DD
};

/// "Thu, 06 Apr 1995 12:34:56 -0800"; the weekday may be missing and is not checked. Nothing when
/// it does not parse.
std::optional<MailDate> parse_mail_date(std::string_view text);

}  // namespace alluvium::streams
