// Compiled once for each instruction set, with -ffast-math so that loops over lanes and expf become
// vector code. Nothing here may depend on NaN or infinity except log_bias = -inf, which is tested
// by value before it meets arithmetic.
#include <cmath>
#include <cstring>

#include "row_kernels.h"

namespace alluvium::backbone {
namespace {

inline float load(const float* at) { return *at; }
inline float load(const Bf16* at) {
  const uint32_t bits = uint32_t{at->bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline void store(float value, float* at) { *at = value; }
inline void store(float value, Bf16* at) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  // Round to nearest, ties to even.
  at->bits = static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

template <class T>
void rms_norm(const float* x, const float* weight, float epsilon, int64_t rows, int64_t d, T* out) {
  for (int64_t r = 0; r < rows; ++r, x += d, out += d) {
    float squares = 0;
    for (int64_t i = 0; i < d; ++i) {
      squares += x[i] * x[i];
    }
    const float factor = 1.0F / std::sqrt(squares / static_cast<float>(d) + epsilon);
    for (int64_t i = 0; i < d; ++i) {
      store(x[i] * factor * weight[i], out + i);
    }
  }
}

template <class T>
void swiglu(const T* gate_up, int64_t rows, int64_t d_ff, T* out) {
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * d_ff, out += d_ff) {
    for (int64_t i = 0; i < d_ff; ++i) {
      const float gate = load(gate_up + i);
      store(gate / (1.0F + expf(-gate)) * load(gate_up + d_ff + i), out + i);
    }
  }
}

template <class T>
void swiglu_gradient(const T* gate_up, const T* d_out, int64_t rows, int64_t d_ff, T* d_gate_up) {
  for (int64_t r = 0; r < rows; ++r, gate_up += 2 * d_ff, d_out += d_ff, d_gate_up += 2 * d_ff) {
    for (int64_t i = 0; i < d_ff; ++i) {
      const float gate = load(gate_up + i);
      const float up = load(gate_up + d_ff + i);
      const float d = load(d_out + i);
      const float sigmoid = 1.0F / (1.0F + expf(-gate));
      store(d * up * sigmoid * (1.0F + gate * (1.0F - sigmoid)), d_gate_up + i);
      store(d * gate * sigmoid, d_gate_up + d_ff + i);
    }
  }
}

// Four sums at once do not wait for each other.
template <class T>
void product(const T* weights, const float* x, int64_t rows, int64_t columns, float* out) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4, weights += 4 * columns) {
    float sums[4] = {0, 0, 0, 0};
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t k = 0; k < 4; ++k) {
        sums[k] += load(weights + k * columns + c) * x[c];
      }
    }
    for (int64_t k = 0; k < 4; ++k) {
      out[r + k] = sums[k];
    }
  }
  for (; r < rows; ++r, weights += columns) {
    float sum = 0;
    for (int64_t c = 0; c < columns; ++c) {
      sum += load(weights + c) * x[c];
    }
    out[r] = sum;
  }
}

template <class T>
void accumulate(const T* rows, int64_t stride, const float* factors, int64_t count, int64_t n,
                float* out) {
  int64_t k = 0;
  for (; k + 4 <= count; k += 4, rows += 4 * stride) {
    for (int64_t c = 0; c < n; ++c) {
      out[c] += factors[k] * load(rows + c) + factors[k + 1] * load(rows + stride + c) +
                factors[k + 2] * load(rows + 2 * stride + c) +
                factors[k + 3] * load(rows + 3 * stride + c);
    }
  }
  for (; k < count; ++k, rows += stride) {
    for (int64_t c = 0; c < n; ++c) {
      out[c] += factors[k] * load(rows + c);
    }
  }
}

template <class T>
void add(const T* y, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] += load(y + i);
  }
}

template <class T>
void widen(const T* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    out[i] = load(x + i);
  }
}

template <class T>
void narrow(const float* x, int64_t n, T* out) {
  for (int64_t i = 0; i < n; ++i) {
    store(x[i], out + i);
  }
}

template <class T>
void rotate(const T* x, const float* cos, const float* sin, int64_t half, T* out) {
  for (int64_t c = 0; c < half; ++c) {
    const float first = load(x + c);
    const float second = load(x + half + c);
    store(first * cos[c] - second * sin[c], out + c);
    store(second * cos[c] + first * sin[c], out + half + c);
  }
}

float maximum(const float* x, int64_t begin, int64_t end, float start) {
  float best = start;
  for (int64_t i = begin; i < end; ++i) {
    best = x[i] > best ? x[i] : best;
  }
  return best;
}

float exponentiate(float* x, int64_t begin, int64_t end, float shift) {
  float sum = 0;
  for (int64_t i = begin; i < end; ++i) {
    x[i] = expf(x[i] - shift);
    sum += x[i];
  }
  return sum;
}

void multiply(float* x, int64_t begin, int64_t end, float factor) {
  for (int64_t i = begin; i < end; ++i) {
    x[i] *= factor;
  }
}

// Turns one row of logits into weights. With a context range: softmax inside each part, merged by
// w = sigmoid(lse_scale * temperature * lse_context - lse_rest).
void weigh(float* logits, const AttendArguments& a) {
  constexpr float kLowest = -3.0e38F;
  const bool plain =
      a.context_begin >= a.context_end || (a.temperature == 1.0F && a.lse_scale == 1.0F);
  if (plain) {
    const float highest = maximum(logits, 0, a.slots, kLowest);
    multiply(logits, 0, a.slots, 1.0F / exponentiate(logits, 0, a.slots, highest));
    return;
  }
  const int64_t begin = a.context_begin;
  const int64_t end = a.context_end;
  const float highest_context = maximum(logits, begin, end, kLowest);
  const float highest_rest = maximum(logits, end, a.slots, maximum(logits, 0, begin, kLowest));
  const float sum_context = exponentiate(logits, begin, end, highest_context);
  const float sum_rest = exponentiate(logits, 0, begin, highest_rest) +
                         exponentiate(logits, end, a.slots, highest_rest);
  const float lse_context = a.lse_scale * a.temperature * (highest_context + logf(sum_context));
  const float lse_rest = highest_rest + logf(sum_rest);
  const float share = 1.0F / (1.0F + expf(lse_rest - lse_context));
  multiply(logits, begin, end, share / sum_context);
  multiply(logits, 0, begin, (1.0F - share) / sum_rest);
  multiply(logits, end, a.slots, (1.0F - share) / sum_rest);
}

// kDim > 0: head size known to the compiler, so that dot products stay in registers.
template <class T, int64_t kDim>
void attend_sized(const AttendArguments& a) {
  const int64_t dim = kDim > 0 ? kDim : a.head_dim;
  const auto* keys = static_cast<const T*>(a.keys);
  const auto* values = static_cast<const T*>(a.values);
  for (int64_t s = 0; s < a.slots; ++s) {
    const T* key = keys + s * dim;
    const float factor =
        s >= a.context_begin && s < a.context_end ? a.scale / a.temperature : a.scale;
    const float bias = a.log_bias == nullptr ? 0.0F : a.log_bias[s];
    for (int64_t r = 0; r < a.rows; ++r) {
      const float* query = a.queries + r * dim;
      float dot = 0;
      for (int64_t c = 0; c < dim; ++c) {
        dot += query[c] * load(key + c);
      }
      // A removed slot takes the lowest finite logit: its weight underflows to zero without an
      // infinity in the arithmetic.
      a.scores[r * a.slots + s] = bias < -1.0e30F ? -1.0e30F : dot * factor + bias;
    }
  }
  for (int64_t r = 0; r < a.rows; ++r) {
    weigh(a.scores + r * a.slots, a);
  }
  for (int64_t i = 0; i < a.rows * dim; ++i) {
    a.out[i] = 0;
  }
  for (int64_t s = 0; s < a.slots; ++s) {
    const T* value = values + s * dim;
    for (int64_t r = 0; r < a.rows; ++r) {
      const float weight = a.scores[r * a.slots + s];
      float* out = a.out + r * dim;
      for (int64_t c = 0; c < dim; ++c) {
        out[c] += weight * load(value + c);
      }
    }
  }
}

template <class T>
void attend(const AttendArguments& arguments) {
  if (arguments.head_dim == 64) {
    attend_sized<T, 64>(arguments);
  } else if (arguments.head_dim == 128) {
    attend_sized<T, 128>(arguments);
  } else {
    attend_sized<T, 0>(arguments);
  }
}

template <class T>
constexpr TypedRowKernels<T> typed_kernels() {
  return {rms_norm<T>, swiglu<T>, swiglu_gradient<T>, add<T>,     widen<T>,
          narrow<T>,   rotate<T>, attend<T>,          product<T>, accumulate<T>};
}

}  // namespace

#define ALLUVIUM_JOIN_(a, b) a##b
#define ALLUVIUM_JOIN(a, b) ALLUVIUM_JOIN_(a, b)
#define ALLUVIUM_TEXT_(a) #a
#define ALLUVIUM_TEXT(a) ALLUVIUM_TEXT_(a)

extern const RowKernels ALLUVIUM_JOIN(kRowKernels_, ALLUVIUM_KERNEL_LEVEL);
const RowKernels ALLUVIUM_JOIN(kRowKernels_, ALLUVIUM_KERNEL_LEVEL) = {
    ALLUVIUM_TEXT(ALLUVIUM_KERNEL_LEVEL), typed_kernels<float>(), typed_kernels<Bf16>()};

}  // namespace alluvium::backbone
