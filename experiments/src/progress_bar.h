// Progress on standard error, with a rate and the time left.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <string>

#include "alluvium/core/clock.h"

namespace alluvium::experiments {

class ProgressBar {
 public:
  /// total: steps of the whole; on a terminal one line is redrawn, elsewhere a line is written each
  /// tenth.
  ProgressBar(std::string label, int64_t total);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void advance(int64_t steps = 1);

 private:
  void draw();

  const std::string label_;
  const int64_t total_;
  const bool terminal_;
  int64_t done_ = 0;
  int64_t drawn_tenth_ = 0;
  double drawn_ms_ = 0;
  bool drawn_ = false;
  Stopwatch watch_;
};

}  // namespace alluvium::experiments
