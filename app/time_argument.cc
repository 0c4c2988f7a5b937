#include "time_argument.h"

#include <chrono>
#include <regex>

#include "alluvium/core/error.h"

namespace alluvium::app {

int64_t parse_time_argument(const std::string& text) {
  static const std::regex kForm(
      R"((\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2}))?(?:Z|([+-])(\d{2}):?(\d{2}))?)?)");
  std::smatch part;
  ALLUVIUM_CHECK(std::regex_match(text, part, kForm),
                 "'{}' is not a date such as 2024-05-01 or 2024-05-01T12:30:00Z", text);
  const auto number = [&](std::size_t i) { return part[i].matched ? std::stoi(part[i].str()) : 0; };
  const std::chrono::year_month_day day{std::chrono::year(number(1)),
                                        std::chrono::month(static_cast<unsigned>(number(2))),
                                        std::chrono::day(static_cast<unsigned>(number(3)))};
  ALLUVIUM_CHECK(day.ok() && number(4) < 24 && number(5) < 60 && number(6) <= 60,
                 "'{}' is not a date and time that exists", text);
  const auto midnight = std::chrono::sys_days(day).time_since_epoch();
  if (!part[4].matched) {
    const auto next = midnight + std::chrono::days(1);
    return std::chrono::duration_cast<std::chrono::microseconds>(next).count() - 1;
  }
  const int sign = part[7].matched && part[7].str() == "-" ? -1 : 1;
  const auto offset = sign * (std::chrono::hours(number(8)) + std::chrono::minutes(number(9)));
  const auto time = midnight + std::chrono::hours(number(4)) + std::chrono::minutes(number(5)) +
                    std::chrono::seconds(number(6)) - offset;
  return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
}

}  // namespace alluvium::app
