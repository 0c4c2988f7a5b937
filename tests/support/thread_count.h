// ATen's thread count, for tests that something comes out the same under any. Needs torch.
#pragma once

#include <ATen/Parallel.h>

namespace alluvium::tests {

/// `threads` of ATen for parallel work as long as it lives, then what there were before.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) { at::set_num_threads(threads); }
  ~ThreadCount() { at::set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  const int before_ = at::get_num_threads();
};

}  // namespace alluvium::tests
