// Time as a parameter, so that tests can set it.
//
// Threads: every Clock is thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

namespace alluvium {

/// Source of time. Wall time is for records and people; monotonic time is for durations.
class Clock {
 public:
  virtual ~Clock() = default;

  /// Microseconds since the Unix epoch, UTC. May jump when the machine's clock is set.
  virtual int64_t wall_us() const = 0;

  /// Microseconds since an arbitrary start; never goes back.
  virtual int64_t monotonic_us() const = 0;
};

/// The machine's own clocks.
class SystemClock final : public Clock {
 public:
  int64_t wall_us() const override;
  int64_t monotonic_us() const override;
};

/// A clock that moves only when told to.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t start_us = 0) : now_us_(start_us) {}

  int64_t wall_us() const override { return now_us_.load(); }
  int64_t monotonic_us() const override { return now_us_.load(); }
  void advance_us(int64_t by_us) { now_us_.fetch_add(by_us); }

 private:
  std::atomic<int64_t> now_us_;
};

/// Milliseconds from construction or the last restart(), by the machine's monotonic clock.
class Stopwatch {
 public:
  Stopwatch() : start_us_(SystemClock().monotonic_us()) {}

  void restart() { start_us_ = SystemClock().monotonic_us(); }
  double elapsed_ms() const {
    return static_cast<double>(SystemClock().monotonic_us() - start_us_) / 1e3;
  }

 private:
  int64_t start_us_;
};

}  // namespace alluvium
