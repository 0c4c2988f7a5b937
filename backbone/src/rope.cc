#include "alluvium/backbone/rope.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include "alluvium/core/error.h"

namespace alluvium::backbone {

Rope::Rope(int64_t head_dim, double base, int64_t max_positions, at::Device device)
    : max_positions_(max_positions) {
  ALLUVIUM_CHECK(head_dim > 0 && head_dim % 2 == 0, "head_dim must be even and positive, got {}",
                 head_dim);
  ALLUVIUM_CHECK(base > 0, "rotary base must be positive, got {}", base);
  ALLUVIUM_CHECK(max_positions > 0 && max_positions <= (int64_t{1} << 22),
                 "max_positions must lie in [1, 4194304], got {}", max_positions);
  const int64_t half = head_dim / 2;
  for (int64_t c = 0; c < half; ++c) {
    inverse_frequencies_.push_back(
        std::pow(base, -2.0 * static_cast<double>(c) / static_cast<double>(head_dim)));
  }
  cos_ = at::empty({max_positions, half}, at::kFloat);
  sin_ = at::empty({max_positions, half}, at::kFloat);
  auto* cos = cos_.mutable_data_ptr<float>();
  auto* sin = sin_.mutable_data_ptr<float>();
  for (int64_t t = 0; t < max_positions; ++t) {
    for (int64_t c = 0; c < half; ++c) {
      const double angle = static_cast<double>(t) * inverse_frequencies_[c];
      *cos++ = static_cast<float>(std::cos(angle));
      *sin++ = static_cast<float>(std::sin(angle));
    }
  }
  device_cos_ = cos_.to(device);
  device_sin_ = sin_.to(device);
}

at::Tensor Rope::cosines(const at::Tensor& positions) const {
  const at::Tensor& table = positions.is_cpu() ? cos_ : device_cos_;
  return table.to(positions.device()).index_select(0, positions);
}

at::Tensor Rope::sines(const at::Tensor& positions) const {
  const at::Tensor& table = positions.is_cpu() ? sin_ : device_sin_;
  return table.to(positions.device()).index_select(0, positions);
}

const float* Rope::cosine_row(int64_t t) const {
  return cos_.const_data_ptr<float>() + t * cos_.size(1);
}

const float* Rope::sine_row(int64_t t) const {
  return sin_.const_data_ptr<float>() + t * sin_.size(1);
}

at::Tensor Rope::rotate(const at::Tensor& states, const at::Tensor& positions) const {
  const auto half = static_cast<int64_t>(inverse_frequencies_.size());
  ALLUVIUM_CHECK(states.dim() >= 2 && states.size(-1) == 2 * half,
                 "states must end in [n, {}], got {} dimensions ending in {}", 2 * half,
                 states.dim(), states.size(-1));
  ALLUVIUM_CHECK(positions.dim() == 1 && positions.size(0) == states.size(-2),
                 "one position a row is needed: {} rows", states.size(-2));
  if (states.numel() == 0) {
    return states.clone();
  }
  ALLUVIUM_CHECK(
      positions.min().item<int64_t>() >= 0 && positions.max().item<int64_t>() < max_positions_,
      "positions must lie in [0, {})", max_positions_);
  const at::Tensor there = positions.to(states.device());
  const at::Tensor cos = cosines(there);
  const at::Tensor sin = sines(there);
  const at::Tensor first = states.narrow(-1, 0, half).to(at::kFloat);
  const at::Tensor second = states.narrow(-1, half, half).to(at::kFloat);
  return at::cat({first * cos - second * sin, second * cos + first * sin}, -1)
      .to(states.scalar_type());
}

}  // namespace alluvium::backbone
