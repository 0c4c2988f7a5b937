#include "cache_capacity.h"

#include "alluvium/core/error.h"
#include "support/catch.h"

namespace alluvium::service {
namespace {

TEST_CASE("cache capacity: what the bound leaves after what is held and the work in hand",
          "[service][cache]") {
  constexpr std::size_t kGibibyte = std::size_t{1} << 30;
  CHECK(cache_capacity(2 * kGibibyte, 0, 5 * kGibibyte) == 2 * kGibibyte);
  CHECK(cache_capacity(2 * kGibibyte, 2 * kGibibyte, kGibibyte / 2) ==
        2 * kGibibyte - kGibibyte / 2 - kWorkBytes);
  CHECK(cache_capacity(kGibibyte, 16 * kGibibyte, kGibibyte) == kGibibyte);
  CHECK(cache_capacity(kGibibyte, kGibibyte + kWorkBytes, kGibibyte) == 0);
  CHECK_THROWS_AS(cache_capacity(kGibibyte, kGibibyte + kWorkBytes - 1, kGibibyte),
                  InvalidArgument);
}

}  // namespace
}  // namespace alluvium::service
