#include "row_kernels.h"

namespace alluvium::backbone {

// Each is defined by row_kernels_cpu.cc compiled for its instruction set.
extern const RowKernels kRowKernels_x86_64;
extern const RowKernels kRowKernels_x86_64_v3;
extern const RowKernels kRowKernels_x86_64_v4;

const RowKernels& row_kernels() {
  static const RowKernels& best = []() -> const RowKernels& {
    if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
        __builtin_cpu_supports("avx512cd") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
        __builtin_cpu_supports("avx512vl") != 0) {
      return kRowKernels_x86_64_v4;
    }
    if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
        __builtin_cpu_supports("bmi2") != 0) {
      return kRowKernels_x86_64_v3;
    }
    return kRowKernels_x86_64;
  }();
  return best;
}

}  // namespace alluvium::backbone
