#include "value_deviation.h"

#include <algorithm>
#include <numeric>

namespace alluvium::backbone {

at::Tensor value_deviation(const at::Tensor& stored, const at::Tensor& fresh) {
  return fresh.to(at::kFloat).sub(stored.to(at::kFloat)).square().sum(at::IntArrayRef{0, 2});
}

int64_t count_of_share(double share, int64_t n) {
  return static_cast<int64_t>(share * static_cast<double>(n));
}

std::vector<int64_t> most_deviating(const at::Tensor& deviation, int64_t count) {
  const at::Tensor host = deviation.cpu().contiguous();
  const auto* value = host.const_data_ptr<float>();
  std::vector<int64_t> tokens(static_cast<std::size_t>(host.numel()));
  std::iota(tokens.begin(), tokens.end(), int64_t{0});
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](int64_t a, int64_t b) { return value[a] > value[b]; });
  tokens.resize(static_cast<std::size_t>(count));
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

}  // namespace alluvium::backbone
