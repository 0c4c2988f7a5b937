#include "alluvium/core/clock.h"

#include <chrono>

namespace alluvium {
namespace {

template <class C>
int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(C::now().time_since_epoch()).count();
}

}  // namespace

int64_t SystemClock::wall_us() const { return now_us<std::chrono::system_clock>(); }

int64_t SystemClock::monotonic_us() const { return now_us<std::chrono::steady_clock>(); }

}  // namespace alluvium
