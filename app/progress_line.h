// One line of progress on standard error, redrawn in place.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "alluvium/core/clock.h"

namespace alluvium::app {

class ProgressLine {
 public:
  /// Draws nothing at all unless `enabled`.
  explicit ProgressLine(bool enabled) : enabled_(enabled) {}
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Draws at most ten times a second. `share` of the work done, in [0, 1], gives bar and time left; nothing when unknown.
  void draw(const std::string& what, std::optional<double> share);

  /// Removes the line, so that other text can stand there.
  void clear();

 private:
  const bool enabled_;
  Stopwatch watch_;
  double drawn_ms_ = -1e9;
  bool is_drawn_ = false;
};

}  // namespace alluvium::app
