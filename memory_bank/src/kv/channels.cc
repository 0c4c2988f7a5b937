#include "kv/channels.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/isfinite.h>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

/// keys: [rows, head_dim] float32.
HeadChannels choose_pairs(const at::Tensor& keys, const at::Tensor& energy, int64_t wanted) {
  const int64_t pairs = keys.size(1) / 2;
  const at::Tensor mean = keys.to(at::kDouble).mean(0);
  const at::Tensor scores = channel_scores(energy, keys - mean);
  if (!at::isfinite(scores).all().item<bool>()) {
    throw NumericError("keys or queries of a chunk are not finite");
  }
  const at::Tensor sums = scores.narrow(0, 0, pairs) + scores.narrow(0, pairs, pairs);
  const auto* sum = sums.const_data_ptr<double>();
  std::vector<int64_t> order(static_cast<std::size_t>(pairs));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return sum[a] > sum[b]; });
  order.resize(static_cast<std::size_t>(wanted));
  std::sort(order.begin(), order.end());

  HeadChannels channels;
  channels.kept = order;
  for (const int64_t pair : order) {
    channels.kept.push_back(pair + pairs);
  }
  const auto* constant = mean.const_data_ptr<double>();
  for (int64_t c = 0; c < 2 * pairs; ++c) {
    if (!std::binary_search(channels.kept.begin(), channels.kept.end(), c)) {
      channels.constant.push_back(static_cast<float>(constant[c]));
    }
  }
  return channels;
}

}  // namespace

at::Tensor query_energy(const at::Tensor& queries, int64_t kv_heads) {
  const int64_t layers = queries.size(0);
  const int64_t head_dim = queries.size(3);
  return queries.to(at::kFloat)
      .square()
      .mean(2)
      .reshape({layers, kv_heads, queries.size(1) / kv_heads, head_dim})
      .mean(2)
      .cpu();
}

at::Tensor channel_scores(const at::Tensor& energy, const at::Tensor& keys) {
  return energy.to(at::kDouble) * keys.to(at::kDouble).square().mean(0);
}

std::vector<HeadChannels> choose_channels(const at::Tensor& keys, const at::Tensor& energy,
                                          const KeptRows& kept, double share) {
  const int64_t slots = keys.size(0) * keys.size(1);
  const int64_t pairs = keys.size(3) / 2;
  const int64_t wanted = std::max<int64_t>(1, std::llround(share * static_cast<double>(pairs)));
  std::vector<HeadChannels> channels;
  if (wanted >= pairs) {
    return channels;
  }
  const at::Tensor all =
      keys.to(at::TensorOptions(at::kFloat).device(at::kCPU)).flatten(0, 1);  // [slots, n, d]
  const at::Tensor energies = energy.flatten(0, 1);
  int64_t first = 0;
  for (int64_t slot = 0; slot < slots; ++slot) {
    at::Tensor rows = all[slot];
    if (!kept.everything()) {
      const int64_t count = kept.counts[static_cast<std::size_t>(slot)];
      rows = at::index_select(rows, 0, kept.positions.narrow(0, first, count));
      first += count;
    }
    channels.push_back(choose_pairs(rows, energies[slot], wanted));
  }
  return channels;
}

}  // namespace alluvium::memory_bank
