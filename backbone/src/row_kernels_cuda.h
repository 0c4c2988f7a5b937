// The elementwise work between matrix products, on an NVIDIA GPU: what row_kernels.h is for the CPU.
//
// Purpose: one launch where ATen's operations take several, each reading and writing the residual stream. The kernels live in a
//          library of their own, liballuvium_cuda.so, which is built where nvcc is found and loaded where a GPU is; nothing else of
//          the program knows CUDA. Without the library the same work is done by ATen.
// Pointers are device memory. Launches go to the default stream, the one torch uses too.
// Threads: any; a call returns when the work is queued.
#pragma once

#include <cstdint>

namespace alluvium::backbone {

/// Element type of a buffer; the residual stream, norms' weights and the rotary tables are always float32.
enum class CudaElement : int32_t { f32, bf16 };

/// Where rotate() finds its rows: state i of head h starts at data + i * row + h * head elements.
struct CudaRotation {
  const void* states = nullptr;
  int64_t state_row = 0;
  int64_t state_head = 0;
  void* out = nullptr;
  int64_t out_row = 0;
  int64_t out_head = 0;
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t half = 0;                    ///< head_dim / 2
  const float* cos = nullptr;          ///< [positions, half]
  const float* sin = nullptr;          ///< [positions, half]
  const int64_t* positions = nullptr;  ///< [rows], or null: first_position + i
  int64_t first_position = 0;
};

/// Each returns null, or what the CUDA runtime says went wrong.
struct CudaRowKernels {
  const char* (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t rows,
                          int64_t d, CudaElement element, void* out);
  const char* (*swiglu)(const void* gate_up, int64_t rows, int64_t d_ff, CudaElement element,
                        void* out);
  const char* (*add)(const void* y, int64_t n, CudaElement element, float* x);
  const char* (*rotate)(const CudaRotation& rotation, CudaElement element);
};

/// The one symbol of liballuvium_cuda.so. The number rises when CudaRowKernels changes.
inline constexpr const char* kCudaRowKernelsSymbol = "alluvium_cuda_row_kernels_1";

/// The kernels, once load_cuda_row_kernels() has found the library; else null.
const CudaRowKernels* cuda_row_kernels();

/// Loads the library beside the program. Call after torch's own CUDA library is there.
void load_cuda_row_kernels();

}  // namespace alluvium::backbone
