#include "row_ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>

#include "alluvium/core/error.h"
#include "row_kernels.h"

namespace alluvium::backbone {
namespace {

// Calls run(T{}) with the kernels' element type of `dtype`.
template <class Run>
void with_type(at::ScalarType dtype, Run run) {
  if (dtype == at::kBFloat16) {
    run(Bf16{});
    return;
  }
  ALLUVIUM_ASSERT(dtype == at::kFloat);
  run(float{});
}

template <class T>
T* pointer(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

// Rows a thread takes at least, so that a task is worth its start (about 16 thousand elements).
int64_t grain(int64_t row_elements) { return 16384 / (row_elements + 1) + 1; }

bool has_kernel(const at::Tensor& tensor) {
  return tensor.is_cpu() &&
         (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16);
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                    at::ScalarType dtype) {
  if (!x.is_cpu()) {
    const at::Tensor mean = x.square().mean(-1, /*keepdim=*/true);
    return (x * at::rsqrt(mean + epsilon) * weight).to(dtype);
  }
  const int64_t d = x.size(1);
  at::Tensor out = at::empty({x.size(0), d}, x.options().dtype(dtype));
  with_type(dtype, [&](auto tag) {
    using T = decltype(tag);
    at::parallel_for(0, x.size(0), grain(d), [&](int64_t begin, int64_t end) {
      row_kernels().of<T>().rms_norm(pointer<float>(x) + begin * d, pointer<float>(weight),
                                     static_cast<float>(epsilon), end - begin, d,
                                     pointer<T>(out) + begin * d);
    });
  });
  return out;
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  const int64_t d_ff = gate_up.size(1) / 2;
  if (!has_kernel(gate_up)) {
    return at::silu(gate_up.narrow(1, 0, d_ff)) * gate_up.narrow(1, d_ff, d_ff);
  }
  at::Tensor out = at::empty({gate_up.size(0), d_ff}, gate_up.options());
  with_type(gate_up.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    at::parallel_for(0, gate_up.size(0), grain(d_ff), [&](int64_t begin, int64_t end) {
      row_kernels().of<T>().swiglu(pointer<T>(gate_up) + begin * 2 * d_ff, end - begin, d_ff,
                                   pointer<T>(out) + begin * d_ff);
    });
  });
  return out;
}

void add_(const at::Tensor& x, const at::Tensor& y) {
  if (!has_kernel(y)) {
    x.add_(y);
    return;
  }
  with_type(y.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    at::parallel_for(0, x.numel(), 16384, [&](int64_t begin, int64_t end) {
      row_kernels().of<T>().add(pointer<T>(y) + begin, end - begin, pointer<float>(x) + begin);
    });
  });
}

void rotate_into_(const at::Tensor& out, const at::Tensor& states, const Rope& rope,
                  int64_t first_position, HeadOrder order) {
  const int64_t n = states.size(0);
  const int64_t heads = states.size(1);
  const int64_t head_dim = states.size(2);
  if (!has_kernel(states)) {
    const at::Tensor positions = at::arange(first_position, first_position + n,
                                            at::TensorOptions(at::kLong).device(states.device()));
    const at::Tensor rotated = rope.rotate(states.transpose(0, 1), positions);
    out.copy_(order == HeadOrder::heads_first ? rotated : rotated.transpose(0, 1));
    return;
  }
  const int64_t row_dim = order == HeadOrder::heads_first ? 1 : 0;
  const int64_t out_row = out.stride(row_dim);
  const int64_t out_head = out.stride(1 - row_dim);
  with_type(states.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    at::parallel_for(0, n, grain(heads * head_dim), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* cos = rope.cosine_row(first_position + i);
        const float* sin = rope.sine_row(first_position + i);
        for (int64_t h = 0; h < heads; ++h) {
          row_kernels().of<T>().rotate(
              pointer<T>(states) + i * states.stride(0) + h * states.stride(1), cos, sin,
              head_dim / 2, pointer<T>(out) + i * out_row + h * out_head);
        }
      }
    });
  });
}

void rotate_keys_into_(const at::Tensor& out, const at::Tensor& keys, const Rope& rope,
                       const at::Tensor& positions) {
  // Keys of another dtype are converted first: exact from 16 bits to float32, and no change when
  // dtypes agree.
  const at::Tensor source = keys.to(out.device(), out.scalar_type()).contiguous();
  if (!has_kernel(source)) {
    out.copy_(rope.rotate(source, positions.to(out.device())));
    return;
  }
  const int64_t head_dim = keys.size(2);
  const int64_t m = keys.size(1);
  const auto* position = positions.const_data_ptr<int64_t>();
  with_type(source.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    for (int64_t h = 0; h < keys.size(0); ++h) {
      for (int64_t i = 0; i < m; ++i) {
        row_kernels().of<T>().rotate(pointer<T>(source) + (h * m + i) * head_dim,
                                     rope.cosine_row(position[i]), rope.sine_row(position[i]),
                                     head_dim / 2,
                                     pointer<T>(out) + h * out.stride(0) + i * out.stride(1));
      }
    }
  });
}

}  // namespace alluvium::backbone
