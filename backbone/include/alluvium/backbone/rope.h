// Rotary position embedding (RoPE), half-split pairing.
//
// Source : Su et al., "RoFormer", 2021, eq. 34; pairing of Hugging Face Llama: channel c turns with
// c + d/2, angle t * base^(-2c/d). Differs: angles and rotation in float32, whatever the dtype of
// the keys; tables indexed per row. Threads: immutable after construction.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace alluvium::backbone {

class Rope {
 public:
  /// head_dim: even; base: theta (SmolLM2 1e5); max_positions: rows of the tables, which are kept
  /// on the CPU and, when `device` is another, there as well.
  Rope(int64_t head_dim, double base, int64_t max_positions, at::Device device = at::kCPU);

  /// R(t) applied to rows of `states` [..., n, head_dim] with `positions` int64 [n], on any device:
  /// returns a new tensor of the dtype and device of `states`. Throws InvalidArgument on a position outside [0, max_positions).
  at::Tensor rotate(const at::Tensor& states, const at::Tensor& positions) const;

  /// cos and sin of positions int64 [n], float32 [n, head_dim / 2].
  at::Tensor cosines(const at::Tensor& positions) const;
  at::Tensor sines(const at::Tensor& positions) const;

  /// Row t of the tables, [head_dim / 2], for kernels on raw pointers. 0 <= t < max_positions.
  const float* cosine_row(int64_t t) const;
  const float* sine_row(int64_t t) const;

  /// The whole tables on the device of the constructor, float32 [max_positions, head_dim / 2].
  const at::Tensor& device_cosines() const { return device_cos_; }
  const at::Tensor& device_sines() const { return device_sin_; }

  /// theta^(-2c/d), [head_dim / 2].
  const std::vector<double>& inverse_frequencies() const { return inverse_frequencies_; }

  int64_t max_positions() const { return max_positions_; }

 private:
  std::vector<double> inverse_frequencies_;
  int64_t max_positions_;
  at::Tensor cos_;  // [max_positions, head_dim / 2] float32
  at::Tensor sin_;
  at::Tensor device_cos_;  // the same, on the device
  at::Tensor device_sin_;
};

}  // namespace alluvium::backbone
