#include "alluvium/core/clock.h"

#include "support/catch.h"

namespace alluvium {
namespace {

TEST_CASE("clock: a manual clock moves only when told to", "[core][clock]") {
  ManualClock clock(100);
  CHECK(clock.wall_us() == 100);
  CHECK(clock.monotonic_us() == 100);
  clock.advance_us(25);
  CHECK(clock.wall_us() == 125);
  CHECK(clock.monotonic_us() == 125);
}

TEST_CASE("clock: the system's monotonic clock never goes back", "[core][clock]") {
  const SystemClock clock;
  int64_t last = clock.monotonic_us();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = clock.monotonic_us();
    REQUIRE(now >= last);
    last = now;
  }
}

TEST_CASE("clock: wall time counts microseconds from 1970", "[core][clock]") {
  // 2024-01-01 in microseconds; a machine that builds this is set later.
  CHECK(SystemClock().wall_us() > int64_t{1'704'067'200'000'000});
}

TEST_CASE("clock: a stopwatch starts at zero again after restart", "[core][clock]") {
  Stopwatch watch;
  const SystemClock clock;
  const int64_t start_us = clock.monotonic_us();
  while (clock.monotonic_us() < start_us + 2000) {
  }
  CHECK(watch.elapsed_ms() >= 2.0);
  const int64_t restarted_us = clock.monotonic_us();
  watch.restart();
  const double after = watch.elapsed_ms();
  CHECK(after >= 0.0);
  CHECK(after <= static_cast<double>(clock.monotonic_us() - restarted_us) / 1e3);
}

}  // namespace
}  // namespace alluvium
