#include "row_kernels.h"

#include "block_kernels.h"
#include "flash_kernels.h"

namespace alluvium::backbone {

// Defined by row_kernels_cpu.cc and block_kernels_cpu.cc, each compiled for three instruction sets.
extern const RowKernels kRowKernels_x86_64;
extern const RowKernels kRowKernels_x86_64_v3;
extern const RowKernels kRowKernels_x86_64_v4;
extern const TileKernels kTileKernels_x86_64;
extern const TileKernels kTileKernels_x86_64_v3;
extern const TileKernels kTileKernels_x86_64_v4;
extern const VnniKernels kVnniKernels;
extern const FlashKernels kFlashBf16;

namespace {

bool has_v4() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512cd") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0;
}

bool has_v3() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("bmi2") != 0;
}

}  // namespace

const RowKernels& row_kernels() {
  static const RowKernels& best = has_v4()   ? kRowKernels_x86_64_v4
                                  : has_v3() ? kRowKernels_x86_64_v3
                                             : kRowKernels_x86_64;
  return best;
}

const TileKernels& float_tile_kernels() {
  static const TileKernels& best = has_v4()   ? kTileKernels_x86_64_v4
                                   : has_v3() ? kTileKernels_x86_64_v3
                                              : kTileKernels_x86_64;
  return best;
}

const VnniKernels* vnni_kernels() {
  static const bool supported = has_v4() && __builtin_cpu_supports("avx512vnni") != 0;
  return supported ? &kVnniKernels : nullptr;
}

const FlashKernels* flash_kernels() {
  static const bool supported = has_v4() && __builtin_cpu_supports("avx512bf16") != 0;
  return supported ? &kFlashBf16 : nullptr;
}

}  // namespace alluvium::backbone
