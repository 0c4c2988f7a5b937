// The elementwise and one-row work between matrix products, on raw pointers.
//
// Purpose: one source file compiled for three instruction sets (x86-64, -v3 with AVX2, -v4 with
// AVX-512); the best the processor has is
//          chosen at run time. No torch and no containers inside, so that no shared inline function
//          is compiled for a newer processor.
// Threads: pure functions of their arguments.
#pragma once

#include <cstdint>

namespace alluvium::backbone {

/// A bfloat16 by its bits.
struct Bf16 {
  uint16_t bits;
};

/// One sequence's slots of one layer and KV head, attended to by the query heads of its group.
struct AttendArguments {
  const float* queries = nullptr;   ///< [rows, head_dim], rotated
  const void* keys = nullptr;       ///< [slots, head_dim]
  const void* values = nullptr;     ///< [slots, head_dim]
  const float* log_bias = nullptr;  ///< [slots] or null
  float* scores = nullptr;          ///< scratch [rows, slots]
  float* out = nullptr;             ///< [rows, head_dim]
  int64_t rows = 0;
  int64_t slots = 0;
  int64_t head_dim = 0;
  float scale = 0;  ///< 1 / sqrt(head_dim)
  // Slots [context_begin, context_end) are divided by temperature and weighed by lse_scale (APE);
  // empty range: plain attention.
  int64_t context_begin = 0;
  int64_t context_end = 0;
  float temperature = 1;
  float lse_scale = 1;
};

/// Functions for one element type T of activations and stored keys.
template <class T>
struct TypedRowKernels {
  /// out[r] = x[r] / sqrt(mean(x[r]^2) + epsilon) * weight; x: [rows, d] float32.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t rows, int64_t d,
                   T* out);
  /// out[r] = silu(gate_up[r][0..d_ff)) * gate_up[r][d_ff..2 d_ff).
  void (*swiglu)(const T* gate_up, int64_t rows, int64_t d_ff, T* out);
  /// d_gate_up of swiglu, given d_out: [rows, d_ff].
  void (*swiglu_gradient)(const T* gate_up, const T* d_out, int64_t rows, int64_t d_ff,
                          T* d_gate_up);
  /// x[i] += y[i].
  void (*add)(const T* y, int64_t n, float* x);
  /// out[i] = x[i].
  void (*widen)(const T* x, int64_t n, float* out);
  void (*narrow)(const float* x, int64_t n, T* out);
  /// One row of half-split rotary embedding: out may be x. cos, sin: [half].
  void (*rotate)(const T* x, const float* cos, const float* sin, int64_t half, T* out);
  /// softmax(scale * Q K^T + bias) V in float32.
  void (*attend)(const AttendArguments& arguments);
  /// out[r] = sum_c weights[r][c] x[c], in float32.
  void (*product)(const T* weights, const float* x, int64_t rows, int64_t columns, float* out);
  /// out[c] += sum_k factors[k] rows[k * stride + c] for c below n, k below count.
  void (*accumulate)(const T* rows, int64_t stride, const float* factors, int64_t count, int64_t n,
                     float* out);
};

struct RowKernels {
  const char* level;
  TypedRowKernels<float> f32;
  TypedRowKernels<Bf16> bf16;

  template <class T>
  const TypedRowKernels<T>& of() const;
};

template <>
inline const TypedRowKernels<float>& RowKernels::of<float>() const {
  return f32;
}
template <>
inline const TypedRowKernels<Bf16>& RowKernels::of<Bf16>() const {
  return bf16;
}

/// The best set for this processor.
const RowKernels& row_kernels();

}  // namespace alluvium::backbone
