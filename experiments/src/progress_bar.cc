#include "progress_bar.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

namespace alluvium::experiments {
namespace {

constexpr double kRedrawMs = 100;
constexpr int64_t kWidth = 24;

}  // namespace

ProgressBar::ProgressBar(std::string label, int64_t total)
    : label_(std::move(label)),
      total_(std::max<int64_t>(total, 1)),
      terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressBar::~ProgressBar() {
  if (terminal_ && drawn_) {
    std::fputc('\n', stderr);
  }
}

void ProgressBar::advance(int64_t steps) {
  done_ += steps;
  const bool last = done_ >= total_;
  if (terminal_) {
    if (last || watch_.elapsed_ms() - drawn_ms_ >= kRedrawMs) {
      draw();
    }
  } else if (const int64_t tenth = 10 * done_ / total_; tenth > drawn_tenth_) {
    drawn_tenth_ = tenth;
    draw();
  }
}

void ProgressBar::draw() {
  drawn_ = true;
  drawn_ms_ = watch_.elapsed_ms();
  const double seconds = drawn_ms_ / 1e3;
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  const double left =
      rate > 0 ? static_cast<double>(std::max<int64_t>(total_ - done_, 0)) / rate : 0;
  const auto filled = static_cast<std::size_t>(kWidth * std::min(done_, total_) / total_);
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  fmt::print(stderr, "{}{} [{}] {}/{}  {:.1f}/s  {:.0f} s left{}", terminal_ ? "\r" : "", label_,
             bar, done_, total_, rate, left, terminal_ ? "   " : "\n");
  std::fflush(stderr);
}

}  // namespace alluvium::experiments
