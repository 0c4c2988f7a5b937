#include "alluvium/streams/dates.h"

#include <algorithm>
#include <array>
#include <chrono>

#include <fmt/format.h>

namespace alluvium::streams {
namespace {

/// Reads a text from left to right; every step says whether it matched.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }

  /// Between `fewest` and `most` digits.
  bool number(std::size_t fewest, std::size_t most, int& value) {
    std::size_t digits = 0;
    value = 0;
    while (digits < most && digits < rest_.size() && is_digit(rest_[digits])) {
      value = value * 10 + (rest_[digits++] - '0');
    }
    rest_.remove_prefix(digits);
    return digits >= fewest;
  }

  bool one_of(std::string_view characters, char& found) {
    if (rest_.empty() || characters.find(rest_.front()) == std::string_view::npos) {
      return false;
    }
    found = rest_.front();
    rest_.remove_prefix(1);
    return true;
  }

  bool exactly(char wanted) {
    char found = 0;
    return one_of(std::string_view(&wanted, 1), found);
  }

  bool blanks() {
    const std::size_t end = std::min(rest_.find_first_not_of(' '), rest_.size());
    rest_.remove_prefix(end);
    return end > 0;
  }

  std::string_view word() {
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_letter);
    const std::string_view word = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
    rest_.remove_prefix(word.size());
    return word;
  }

  /// Digits after a decimal point, as microseconds.
  bool fraction(int64_t& microseconds) {
    int64_t unit = 100'000;
    std::size_t digits = 0;
    for (; digits < rest_.size() && is_digit(rest_[digits]); ++digits, unit /= 10) {
      microseconds += unit * (rest_[digits] - '0');
    }
    rest_.remove_prefix(digits);
    return digits > 0;
  }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

  std::string_view rest_;
};

struct CivilTime {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  int64_t fraction_us = 0;
  int offset_minutes = 0;
};

std::optional<int64_t> to_microseconds(const CivilTime& time) {
  using namespace std::chrono;
  const year_month_day date{year(time.year), month(static_cast<unsigned>(time.month)),
                            day(static_cast<unsigned>(time.day))};
  // A leap second (60) counts as the first of the next minute.
  if (!date.ok() || time.hour > 23 || time.minute > 59 || time.second > 60) {
    return std::nullopt;
  }
  const auto moment = sys_days(date) + hours(time.hour) + minutes(time.minute) +
                      seconds(time.second) - minutes(time.offset_minutes);
  return duration_cast<microseconds>(moment.time_since_epoch()).count() + time.fraction_us;
}

/// "+02:00", "-0800" or "Z".
bool scan_offset(Scanner& scanner, int& offset_minutes) {
  char sign = 0;
  if (!scanner.one_of("Zz+-", sign)) {
    return false;
  }
  offset_minutes = 0;
  if (sign == 'Z' || sign == 'z') {
    return true;
  }
  int hours = 0;
  int minutes = 0;
  if (!scanner.number(2, 2, hours)) {
    return false;
  }
  scanner.exactly(':');
  if (!scanner.number(2, 2, minutes) || hours > 23 || minutes > 59) {
    return false;
  }
  offset_minutes = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
  return true;
}

int month_number(std::string_view name) {
  static constexpr std::array<std::string_view, 12> kMonths = {
      "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
  std::string lower(name.substr(0, 3));
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const auto found = std::find(kMonths.begin(), kMonths.end(), lower);
  return found == kMonths.end() ? 0 : static_cast<int>(found - kMonths.begin()) + 1;
}

}  // namespace

std::optional<int64_t> parse_iso_date(std::string_view text) {
  Scanner scanner(text);
  CivilTime time;
  if (!scanner.number(4, 4, time.year) || !scanner.exactly('-') ||
      !scanner.number(2, 2, time.month) || !scanner.exactly('-') ||
      !scanner.number(2, 2, time.day)) {
    return std::nullopt;
  }
  if (scanner.at_end()) {
    return to_microseconds(time);
  }
  char separator = 0;
  if (!scanner.one_of("Tt ", separator) || !scanner.number(2, 2, time.hour) ||
      !scanner.exactly(':') || !scanner.number(2, 2, time.minute)) {
    return std::nullopt;
  }
  if (scanner.exactly(':') && !scanner.number(2, 2, time.second)) {
    return std::nullopt;
  }
  if (scanner.exactly('.') && !scanner.fraction(time.fraction_us)) {
    return std::nullopt;
  }
  if (!scanner.at_end() && !scan_offset(scanner, time.offset_minutes)) {
    return std::nullopt;
  }
  return scanner.at_end() ? to_microseconds(time) : std::nullopt;
}

std::optional<MailDate> parse_mail_date(std::string_view text) {
  Scanner scanner(text);
  CivilTime time;
  scanner.blanks();
  if (!scanner.word().empty()) {
    scanner.exactly(',');
    scanner.blanks();
  }
  if (!scanner.number(1, 2, time.day) || !scanner.blanks()) {
    return std::nullopt;
  }
  time.month = month_number(scanner.word());
  if (time.month == 0 || !scanner.blanks() || !scanner.number(4, 4, time.year) ||
      !scanner.blanks() || !scanner.number(1, 2, time.hour) || !scanner.exactly(':') ||
      !scanner.number(2, 2, time.minute) || !scanner.exactly(':') ||
      !scanner.number(2, 2, time.second) || !scanner.blanks() ||
      !scan_offset(scanner, time.offset_minutes)) {
    return std::nullopt;
  }
  const auto time_us = to_microseconds(time);
  if (!time_us) {
    return std::nullopt;
  }
  return MailDate{*time_us, fmt::format("{:04}-{:02}-{:02}", time.year, time.month, time.day)};
}

}  // namespace alluvium::streams
