#include "kv/merge.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/ones.h>

#include "alluvium/core/error.h"
#include "kv/merge_alike.h"
#include "kv/nearest_rows.h"

namespace alluvium::memory_bank {
namespace {

void merge_slot_(const at::Tensor& keys, at::Tensor values, const at::Tensor& kept) {
  const NearestRows nearest = nearest_rows(keys, kept);
  if (nearest.evicted.size(0) == 0) {
    return;
  }
  const at::Tensor& target = nearest.target;
  const at::Tensor theirs = at::index_select(values, 0, nearest.evicted);
  const at::Tensor ours = at::index_select(values, 0, kept);
  const at::Tensor their_length = length_of(theirs).squeeze(1);
  const at::Tensor our_length = at::index_select(length_of(ours).squeeze(1), 0, target);
  const at::Tensor weight =
      nearest.cosine.clamp_min(0) * their_length / (their_length + our_length);
  at::Tensor sum = ours.clone();
  sum.index_add_(0, target, theirs * weight.unsqueeze(1));
  at::Tensor total = at::ones({kept.size(0)}, values.options());
  total.index_add_(0, target, weight);
  values.index_copy_(0, kept, sum / total.unsqueeze(1));
}

/// Adjacent keys with a greater cosine belong to one set. Our choice: the source names none that holds
/// for keys before the rotary embedding.
constexpr double kAlike = 0.75;

/// Rows of one layer and head, one after the other.
struct Rows {
  float* first;
  int64_t head_dim;

  std::span<float> operator[](int64_t row) const {
    return {first + row * head_dim, static_cast<std::size_t>(head_dim)};
  }
};

double product(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0, std::plus<>(),
                            [](double x, double y) { return x * y; });
}

double squared_distance(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0, std::plus<>(),
                            [](double x, double y) { return (x - y) * (x - y); });
}

/// The set of each row, numbered from 0 along the text. A key that is not finite is like none.
std::vector<int64_t> sets_of(const Rows& keys, int64_t n) {
  std::vector<int64_t> sets(static_cast<std::size_t>(n), 0);
  double before = std::sqrt(product(keys[0], keys[0]));
  for (int64_t row = 1; row < n; ++row) {
    const double length = std::sqrt(product(keys[row], keys[row]));
    const bool alike = product(keys[row - 1], keys[row]) > kAlike * before * length;
    sets[static_cast<std::size_t>(row)] = sets[static_cast<std::size_t>(row) - 1] + (alike ? 0 : 1);
    before = length;
  }
  return sets;
}

void weigh_(const Rows& rows, int64_t first, int64_t pivot, std::span<const double> weights) {
  std::vector<double> mean(static_cast<std::size_t>(rows.head_dim), 0.0);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::span<const float> row = rows[first + static_cast<int64_t>(i)];
    for (std::size_t c = 0; c < mean.size(); ++c) {
      mean[c] += weights[i] * static_cast<double>(row[c]);
    }
  }
  std::transform(mean.begin(), mean.end(), rows[pivot].begin(),
                 [](double x) { return static_cast<float>(x); });
}

void merge_runs_(const Rows& keys, const Rows& values, int64_t n, std::span<const int64_t> kept) {
  const std::vector<int64_t> sets = sets_of(keys, n);
  int64_t first = 0;  // of the rows that join the pivot at hand, which stand in one piece around it
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const int64_t pivot = kept[i];
    const int64_t set = sets[static_cast<std::size_t>(pivot)];
    int64_t end = i + 1 < kept.size() ? kept[i + 1] : n;
    if (end < n && sets[static_cast<std::size_t>(end)] == set) {
      end = (pivot + end) / 2 + 1;  // half of the way is this one's, the middle row too
    }
    while (sets[static_cast<std::size_t>(first)] != set) {
      ++first;
    }
    while (sets[static_cast<std::size_t>(end) - 1] != set) {
      --end;
    }
    if (end - first > 1) {
      std::vector<double> distances;
      for (int64_t row = first; row < end; ++row) {
        distances.push_back(squared_distance(keys[row], keys[pivot]));
      }
      const double sum = std::accumulate(distances.begin(), distances.end(), 0.0);
      const auto weights = gaussian_weights(distances, sum / static_cast<double>(end - first - 1));
      weigh_(keys, first, pivot, weights);
      weigh_(values, first, pivot, weights);
    }
    first = end;
  }
}

}  // namespace

std::vector<double> gaussian_weights(std::span<const double> squared_distances, double variance) {
  std::vector<double> weights;
  for (const double distance : squared_distances) {
    weights.push_back(variance > 0 ? std::exp(-distance / (2 * variance)) : 1.0);
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

bool merges_rotated(const std::string& merge) {
  return merge == "compensation" || merge == "d2o" || merge == "ems";
}

MergedRows merge_rows(const std::string& merge, const at::Tensor& keys, const at::Tensor& values,
                      const KeptRows& kept, const MergeContext& context) {
  if (merge == "none" || merge == "compensation" || kept.everything()) {
    return {keys, values};
  }
  if (merge == "values") {
    return {keys, merge_values(keys.cpu(), values.cpu(), kept)};
  }
  ALLUVIUM_ASSERT(context.rope != nullptr || !(merge == "d2o" || merge == "ems"));
  if (merge == "d2o") {
    return merge_d2o(keys.cpu(), values.cpu(), kept, *context.rope);
  }
  if (merge == "ems") {
    return merge_ems(keys.cpu(), values.cpu(), kept, context.scores, *context.rope);
  }
  ALLUVIUM_CHECK(merge == "neighbours", "unknown merge '{}'", merge);
  return merge_neighbours(keys.cpu(), values.cpu(), kept);
}

MergedRows merge_neighbours(const at::Tensor& keys, const at::Tensor& values,
                            const KeptRows& kept) {
  MergedRows merged{keys.to(at::kFloat).clone(at::MemoryFormat::Contiguous),
                    values.to(at::kFloat).clone(at::MemoryFormat::Contiguous)};
  const int64_t n = keys.size(2);
  const int64_t head_dim = keys.size(3);
  const auto* position = kept.everything() ? nullptr : kept.positions.const_data_ptr<int64_t>();
  for (std::size_t slot = 0; slot < kept.counts.size(); ++slot) {
    const int64_t offset = static_cast<int64_t>(slot) * n * head_dim;
    merge_runs_({merged.keys.mutable_data_ptr<float>() + offset, head_dim},
                {merged.values.mutable_data_ptr<float>() + offset, head_dim}, n,
                {position, static_cast<std::size_t>(kept.counts[slot])});
    position += kept.counts[slot];
  }
  return merged;
}

at::Tensor merge_values(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept) {
  const at::Tensor all_keys = keys.to(at::kFloat);
  at::Tensor merged = values.to(at::kFloat).clone();
  int64_t first = 0;
  const int64_t heads = keys.size(1);
  for (std::size_t slot = 0; slot < kept.counts.size(); ++slot) {
    const auto layer = static_cast<int64_t>(slot) / heads;
    const auto head = static_cast<int64_t>(slot) % heads;
    merge_slot_(all_keys[layer][head], merged[layer][head],
                kept.positions.narrow(0, first, kept.counts[slot]));
    first += kept.counts[slot];
  }
  return merged;
}

}  // namespace alluvium::memory_bank
