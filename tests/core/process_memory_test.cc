#include "alluvium/core/process_memory.h"

#include <memory>
#include <unistd.h>
#include <vector>

#include "support/catch.h"

namespace alluvium {
namespace {

constexpr int64_t kMebibyte = 1 << 20;

TEST_CASE("process memory: the peak stays when memory goes, and begins anew when it is reset",
          "[core][memory]") {
  const int64_t before = resident_bytes();
  REQUIRE(before > 0);
  std::vector<char>(64 * kMebibyte, 'x').clear();
  CHECK(peak_rss_bytes() >= before + 60 * kMebibyte);
  CHECK(peak_rss_bytes(getpid()) == peak_rss_bytes());
  CHECK(peak_rss_bytes(-1) == 0);
  if (access("/proc/self/clear_refs", W_OK) != 0) {
    WARN("the rest skipped: no leave to reset the peak");
    return;
  }
  reset_peak_rss();
  CHECK(peak_rss_bytes() < before + 60 * kMebibyte);
}

#if !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)  // they bring allocators of their own
TEST_CASE("process memory: what the allocator keeps between pieces in use is given back",
          "[core][memory]") {
  std::vector<std::unique_ptr<std::vector<char>>> pieces;
  for (int i = 0; i < 4096; ++i) {
    pieces.push_back(std::make_unique<std::vector<char>>(32 * 1024, 'x'));
  }
  // One in 64 stays, so that no end of the heap is free.
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i % 64 != 63) {
      pieces[i].reset();
    }
  }
  const int64_t kept = resident_bytes();
  release_free_memory();
  CHECK(resident_bytes() < kept - 100 * kMebibyte);
  CHECK(pieces[63]->front() == 'x');
}
#endif

}  // namespace
}  // namespace alluvium
