#include "progress_line.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "console.h"

namespace alluvium::app {
namespace {

constexpr double kRedrawMs = 100;
constexpr int kBarWidth = 24;

std::string bar(double share) {
  const auto filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * kBarWidth);
  return fmt::format("[{:#<{}}{:.<{}}]", "", filled, "", kBarWidth - filled);
}

}  // namespace

void ProgressLine::draw(const std::string& what, std::optional<double> share) {
  const double now_ms = watch_.elapsed_ms();
  if (!enabled_ || now_ms - drawn_ms_ < kRedrawMs) {
    return;
  }
  drawn_ms_ = now_ms;
  is_drawn_ = true;
  std::string line = what;
  if (share) {
    line = fmt::format("{} {:3.0f} %  {}", bar(*share), 100 * *share, what);
  }
  // Before the first hundredth the time left would be a guess.
  if (share && *share > 0.01) {
    line += fmt::format("  ETA {}", format_duration(now_ms / 1e3 * (1 - *share) / *share));
  }
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
}

void ProgressLine::clear() {
  if (is_drawn_) {
    fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
    is_drawn_ = false;
  }
}

}  // namespace alluvium::app
