#include "row_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>

#include "alluvium/backbone/parallel.h"
#include "alluvium/core/error.h"
#include "row_kernels.h"
#include "row_kernels_cuda.h"

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

bool has_type(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
}

bool has_kernel(const at::Tensor& tensor) { return tensor.is_cpu() && has_type(tensor); }

// The GPU's kernels when they can take this tensor, else null.
const CudaRowKernels* cuda_kernels_for(const at::Tensor& tensor) {
  return tensor.is_cuda() && has_type(tensor) ? cuda_row_kernels() : nullptr;
}

CudaElement cuda_element(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? CudaElement::bf16 : CudaElement::f32;
}

void require_launched(const char* error) {
  if (error != nullptr) {
    throw InternalError(fmt::format("a CUDA kernel did not start: {}", error));
  }
}

// A rotation of states[row][head] into out[row][head], whatever their strides.
CudaRotation cuda_rotation(const at::Tensor& states, const at::Tensor& out, const Rope& rope) {
  CudaRotation rotation;
  rotation.states = states.const_data_ptr();
  rotation.state_row = states.stride(0);
  rotation.state_head = states.stride(1);
  rotation.out = out.mutable_data_ptr();
  rotation.out_row = out.stride(0);
  rotation.out_head = out.stride(1);
  rotation.rows = states.size(0);
  rotation.heads = states.size(1);
  rotation.half = states.size(2) / 2;
  rotation.cos = rope.device_cosines().const_data_ptr<float>();
  rotation.sin = rope.device_sines().const_data_ptr<float>();
  return rotation;
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                    at::ScalarType dtype) {
  if (const CudaRowKernels* cuda = cuda_kernels_for(x)) {
    at::Tensor out = at::empty(x.sizes(), x.options().dtype(dtype));
    require_launched(cuda->rms_norm(x.const_data_ptr<float>(), weight.const_data_ptr<float>(),
                                    static_cast<float>(epsilon), x.size(0), x.size(1),
                                    cuda_element(dtype), out.mutable_data_ptr()));
    return out;
  }
  if (!x.is_cpu() || dtype == at::kDouble) {
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
  if (const CudaRowKernels* cuda = cuda_kernels_for(gate_up)) {
    at::Tensor out = at::empty({gate_up.size(0), d_ff}, gate_up.options());
    require_launched(cuda->swiglu(gate_up.const_data_ptr(), gate_up.size(0), d_ff,
                                  cuda_element(gate_up.scalar_type()), out.mutable_data_ptr()));
    return out;
  }
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

at::Tensor swiglu_gradient(const at::Tensor& gate_up, const at::Tensor& d_out) {
  const int64_t d_ff = gate_up.size(1) / 2;
  if (!has_kernel(gate_up)) {
    const at::Tensor gate = gate_up.narrow(1, 0, d_ff);
    const at::Tensor up = gate_up.narrow(1, d_ff, d_ff);
    const at::Tensor s = at::sigmoid(gate);
    return at::cat({d_out * up * s * (1 + gate * (1 - s)), d_out * gate * s}, 1);
  }
  const at::Tensor d = d_out.contiguous();
  at::Tensor out = at::empty(gate_up.sizes(), gate_up.options());
  with_type(gate_up.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    at::parallel_for(0, gate_up.size(0), grain(d_ff), [&](int64_t begin, int64_t end) {
      row_kernels().of<T>().swiglu_gradient(pointer<T>(gate_up) + begin * 2 * d_ff,
                                            pointer<T>(d) + begin * d_ff, end - begin, d_ff,
                                            pointer<T>(out) + begin * 2 * d_ff);
    });
  });
  return out;
}

void add_(const at::Tensor& x, const at::Tensor& y) {
  if (const CudaRowKernels* cuda = cuda_kernels_for(y)) {
    require_launched(cuda->add(y.const_data_ptr(), y.numel(), cuda_element(y.scalar_type()),
                               x.mutable_data_ptr<float>()));
    return;
  }
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
  if (const CudaRowKernels* cuda = cuda_kernels_for(states)) {
    CudaRotation rotation =
        cuda_rotation(states, order == HeadOrder::heads_first ? out.transpose(0, 1) : out, rope);
    rotation.first_position = first_position;
    require_launched(cuda->rotate(rotation, cuda_element(states.scalar_type())));
    return;
  }
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
  if (const CudaRowKernels* cuda = cuda_kernels_for(source)) {
    const at::Tensor on_device = positions.to(out.device());
    CudaRotation rotation = cuda_rotation(source.transpose(0, 1), out.transpose(0, 1), rope);
    rotation.positions = on_device.const_data_ptr<int64_t>();
    require_launched(cuda->rotate(rotation, cuda_element(source.scalar_type())));
    return;
  }
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
