// See row_kernels_cuda.h. Arithmetic is float32 as on the CPU; only stored elements are rounded.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "row_kernels_cuda.h"

namespace alluvium::backbone {
namespace {

constexpr int kThreads = 256;

__device__ float load(const float* at) { return *at; }
__device__ float load(const __nv_bfloat16* at) { return __bfloat162float(*at); }
__device__ void store(float value, float* at) { *at = value; }
__device__ void store(float value, __nv_bfloat16* at) { *at = __float2bfloat16_rn(value); }

// The sum over a block of kThreads, in every thread.
__device__ float sum_over_block(float value) {
  __shared__ float partial[kThreads / 32];
  for (int lane = 16; lane > 0; lane /= 2) {
    value += __shfl_xor_sync(0xffffffffU, value, lane);
  }
  if (threadIdx.x % 32 == 0) {
    partial[threadIdx.x / 32] = value;
  }
  __syncthreads();
  float total = 0;
  for (const float part : partial) {
    total += part;
  }
  return total;
}

template <class T>
__global__ void rms_norm_kernel(const float* x, const float* weight, float epsilon, int64_t d,
                                T* out) {
  x += blockIdx.x * d;
  out += blockIdx.x * d;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < d; i += kThreads) {
    squares += x[i] * x[i];
  }
  const float factor = rsqrtf(sum_over_block(squares) / static_cast<float>(d) + epsilon);
  for (int64_t i = threadIdx.x; i < d; i += kThreads) {
    store(x[i] * factor * weight[i], out + i);
  }
}

template <class T>
__global__ void swiglu_kernel(const T* gate_up, int64_t rows, int64_t d_ff, T* out) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < rows * d_ff; i += stride) {
    const T* gate_at = gate_up + i / d_ff * 2 * d_ff + i % d_ff;
    const float gate = load(gate_at);
    store(gate / (1.0F + expf(-gate)) * load(gate_at + d_ff), out + i);
  }
}

template <class T>
__global__ void add_kernel(const T* y, int64_t n, float* x) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < n; i += stride) {
    x[i] += load(y + i);
  }
}

template <class T>
__global__ void rotate_kernel(CudaRotation r) {
  const auto* states = static_cast<const T*>(r.states);
  auto* out = static_cast<T*>(r.out);
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < r.rows * r.heads * r.half;
       i += stride) {
    const int64_t c = i % r.half;
    const int64_t head = i / r.half % r.heads;
    const int64_t row = i / r.half / r.heads;
    const int64_t position = r.positions != nullptr ? r.positions[row] : r.first_position + row;
    const float cos = r.cos[position * r.half + c];
    const float sin = r.sin[position * r.half + c];
    const T* from = states + row * r.state_row + head * r.state_head + c;
    T* to = out + row * r.out_row + head * r.out_head + c;
    // Both are read before either is written: `out` may be `states`.
    const float first = load(from);
    const float second = load(from + r.half);
    store(first * cos - second * sin, to);
    store(second * cos + first * sin, to + r.half);
  }
}

const char* launched() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// Blocks for n elements; the loops inside stride, so a bound costs nothing.
unsigned blocks_for(int64_t n) {
  const int64_t blocks = (n + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < 65536 ? blocks : 65536);
}

// Calls run(T*) with a null pointer of the element's type.
template <class Run>
const char* with_element(CudaElement element, int64_t work, Run run) {
  if (work == 0) {
    return nullptr;
  }
  if (element == CudaElement::bf16) {
    run(static_cast<__nv_bfloat16*>(nullptr));
  } else {
    run(static_cast<float*>(nullptr));
  }
  return launched();
}

const char* rms_norm(const float* x, const float* weight, float epsilon, int64_t rows, int64_t d,
                     CudaElement element, void* out) {
  return with_element(element, rows, [&](auto* tag) {
    rms_norm_kernel<<<static_cast<unsigned>(rows), kThreads>>>(x, weight, epsilon, d,
                                                               static_cast<decltype(tag)>(out));
  });
}

const char* swiglu(const void* gate_up, int64_t rows, int64_t d_ff, CudaElement element,
                   void* out) {
  return with_element(element, rows * d_ff, [&](auto* tag) {
    using T = decltype(tag);
    swiglu_kernel<<<blocks_for(rows * d_ff), kThreads>>>(static_cast<T>(const_cast<void*>(gate_up)),
                                                         rows, d_ff, static_cast<T>(out));
  });
}

const char* add(const void* y, int64_t n, CudaElement element, float* x) {
  return with_element(element, n, [&](auto* tag) {
    using T = decltype(tag);
    add_kernel<<<blocks_for(n), kThreads>>>(static_cast<T>(const_cast<void*>(y)), n, x);
  });
}

template <class T>
void launch_rotate(const CudaRotation& rotation, T*) {
  rotate_kernel<T>
      <<<blocks_for(rotation.rows * rotation.heads * rotation.half), kThreads>>>(rotation);
}

const char* rotate(const CudaRotation& rotation, CudaElement element) {
  return with_element(element, rotation.rows * rotation.heads * rotation.half,
                      [&](auto* tag) { launch_rotate(rotation, tag); });
}

constexpr CudaRowKernels kKernels = {rms_norm, swiglu, add, rotate};

}  // namespace
}  // namespace alluvium::backbone

extern "C" __attribute__((visibility("default"))) const alluvium::backbone::CudaRowKernels*
alluvium_cuda_row_kernels_1() {
  return &alluvium::backbone::kKernels;
}
