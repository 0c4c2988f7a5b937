#include "kv/budget.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include <ATen/ops/empty.h>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

/// Scores as spans of one slot each.
class Slots {
 public:
  Slots(const at::Tensor& scores, const BudgetOptions& options)
      : scores_(scores.contiguous()),
        options_(options),
        layers(scores.size(0)),
        heads(scores.size(1)),
        rows(scores.size(2)) {
    const float* values = scores_.const_data_ptr<float>();
    if (!std::all_of(values, values + scores_.numel(), [](float x) { return std::isfinite(x); })) {
      throw NumericError("a row's score is not finite");
    }
    ALLUVIUM_CHECK(
        options.keep_mask.empty() || static_cast<int64_t>(options.keep_mask.size()) == rows,
        "a keep mask of {} for {} rows", options.keep_mask.size(), rows);
    masked_ = std::count(options.keep_mask.begin(), options.keep_mask.end(), uint8_t{1});
  }

  std::span<const float> of(int64_t slot) const {
    return {scores_.const_data_ptr<float>() + slot * rows, static_cast<std::size_t>(rows)};
  }
  int64_t count() const { return layers * heads; }
  /// What a slot keeps at least.
  int64_t least() const {
    return std::min(std::max({masked_, options_.floor_rows, int64_t{1}}), rows);
  }
  int64_t clamp(int64_t kept) const { return std::clamp(kept, least(), rows); }

  /// Tokens of a slot, those of the mask first, then by score, equal ones by place.
  std::vector<int64_t> order(int64_t slot) const {
    const std::span<const float> score = of(slot);
    const auto& mask = options_.keep_mask;
    std::vector<int64_t> tokens(static_cast<std::size_t>(rows));
    std::iota(tokens.begin(), tokens.end(), int64_t{0});
    std::sort(tokens.begin(), tokens.end(), [&](int64_t a, int64_t b) {
      const bool first = !mask.empty() && mask[a] != 0;
      const bool second = !mask.empty() && mask[b] != 0;
      if (first != second) {
        return first;
      }
      return score[a] != score[b] ? score[a] > score[b] : a < b;
    });
    return tokens;
  }

 private:
  const at::Tensor scores_;
  const BudgetOptions& options_;
  int64_t masked_ = 0;

 public:
  const int64_t layers;
  const int64_t heads;
  const int64_t rows;
};

struct Candidate {
  float score;
  int64_t owner;
};

/// Adds one to the count of the owner of each of the `wanted` best candidates; equal ones in the
/// order they stand.
void take_best(std::vector<Candidate>& candidates, int64_t wanted, std::vector<int64_t>& counts) {
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  const auto taken =
      std::min(static_cast<std::size_t>(std::max<int64_t>(wanted, 0)), candidates.size());
  for (std::size_t i = 0; i < taken; ++i) {
    ++counts[static_cast<std::size_t>(candidates[i].owner)];
  }
}

std::vector<int64_t> share_globally(const Slots& slots, double keep) {
  std::vector<int64_t> counts(static_cast<std::size_t>(slots.count()), slots.least());
  std::vector<Candidate> candidates;
  for (int64_t slot = 0; slot < slots.count(); ++slot) {
    std::vector<int64_t> tokens = slots.order(slot);
    tokens.erase(tokens.begin(), tokens.begin() + slots.least());
    for (const int64_t token : tokens) {
      candidates.push_back({slots.of(slot)[token], slot});
    }
  }
  const auto total = std::llround(keep * static_cast<double>(slots.count() * slots.rows));
  take_best(candidates, total - slots.count() * slots.least(), counts);
  return counts;
}

std::vector<int64_t> share_by_curves(const Slots& slots, const BudgetOptions& options) {
  const auto rows = static_cast<std::size_t>(slots.rows);
  const int64_t floor =
      options.floor_rows == 0
          ? 0
          : std::min(slots.rows, std::max({int64_t{16}, slots.least(),
                                           static_cast<int64_t>(std::ceil(
                                               0.2 * options.keep * static_cast<double>(rows)))}));
  std::vector<int64_t> per_layer(static_cast<std::size_t>(slots.layers), floor);
  std::vector<Candidate> candidates;
  for (int64_t layer = 0; layer < slots.layers; ++layer) {
    std::vector<float> curve(rows, 0.0F);
    for (int64_t head = 0; head < slots.heads; ++head) {
      const auto scores = slots.of(layer * slots.heads + head);
      std::vector<float> sorted(scores.begin(), scores.end());
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      std::transform(curve.begin(), curve.end(), sorted.begin(), curve.begin(), std::plus<>());
    }
    for (auto point = static_cast<std::size_t>(floor); point < rows; ++point) {
      candidates.push_back({curve[point] / static_cast<float>(slots.heads), layer});
    }
  }
  const auto total = std::llround(options.keep * static_cast<double>(slots.layers * slots.rows));
  take_best(candidates, total - floor * slots.layers, per_layer);
  std::vector<int64_t> counts;
  for (const int64_t kept : per_layer) {
    counts.insert(counts.end(), static_cast<std::size_t>(slots.heads), slots.clamp(kept));
  }
  return counts;
}

std::vector<int64_t> share_as_pyramid(const Slots& slots, double keep) {
  constexpr double kBeta = 20;
  const auto rows = static_cast<double>(slots.rows);
  const double mean = keep * rows;
  const double first = std::min(2 * mean - mean / kBeta, rows);
  const double last = 2 * mean - first;
  std::vector<int64_t> counts;
  for (int64_t layer = 0; layer < slots.layers; ++layer) {
    const double share = slots.layers == 1
                             ? 0.5
                             : static_cast<double>(layer) / static_cast<double>(slots.layers - 1);
    const auto kept = std::llround(first + share * (last - first));
    counts.insert(counts.end(), static_cast<std::size_t>(slots.heads), slots.clamp(kept));
  }
  return counts;
}

/// D2O's statistic of each layer: variance over rows, mean over heads, least 0 and greatest 1.
std::vector<double> layer_statistics(const Slots& slots) {
  std::vector<double> statistics(static_cast<std::size_t>(slots.layers), 0.0);
  for (int64_t slot = 0; slot < slots.count(); ++slot) {
    const std::span<const float> scores = slots.of(slot);
    const auto n = static_cast<double>(scores.size());
    const double mean = std::accumulate(scores.begin(), scores.end(), 0.0) / n;
    const double squares =
        std::accumulate(scores.begin(), scores.end(), 0.0,
                        [&](double sum, float x) { return sum + (x - mean) * (x - mean); });
    statistics[static_cast<std::size_t>(slot / slots.heads)] +=
        squares / n / static_cast<double>(slots.heads);
  }
  const auto [low, high] = std::minmax_element(statistics.begin(), statistics.end());
  const double least = *low;
  const double range = *high - *low;
  for (double& statistic : statistics) {
    statistic = range > 0 ? (statistic - least) / range : 0;
  }
  return statistics;
}

std::vector<int64_t> share_by_variance(const Slots& slots, double keep) {
  const std::vector<double> shares = d2o_shares(layer_statistics(slots), keep);
  // Each row goes to the layer that is furthest behind its share (highest averages, Sainte-Lague):
  // counts sum to what was asked for, and no layer passes its floor or its length.
  std::vector<int64_t> per_layer(static_cast<std::size_t>(slots.layers), slots.least());
  std::vector<Candidate> candidates;
  for (int64_t layer = 0; layer < slots.layers; ++layer) {
    const double share = shares[static_cast<std::size_t>(layer)];
    for (int64_t row = slots.least(); row < slots.rows; ++row) {
      candidates.push_back({static_cast<float>(share / (static_cast<double>(row) + 0.5)), layer});
    }
  }
  const auto total = std::llround(keep * static_cast<double>(slots.layers * slots.rows));
  take_best(candidates, total - slots.layers * slots.least(), per_layer);
  std::vector<int64_t> counts;
  for (const int64_t kept : per_layer) {
    counts.insert(counts.end(), static_cast<std::size_t>(slots.heads), kept);
  }
  return counts;
}

}  // namespace

const std::vector<std::string>& budget_names() {
  static const std::vector<std::string> names = {"global", "curves", "uniform", "pyramid", "d2o"};
  return names;
}

std::vector<double> d2o_shares(std::span<const double> statistics, double keep) {
  std::vector<double> shares;
  for (const double statistic : statistics) {
    shares.push_back(std::exp(-statistic));
  }
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) {
    share = std::clamp(static_cast<double>(shares.size()) * keep * share / sum, 0.01, 1.0);
  }
  return shares;
}

std::vector<int64_t> share_rows(const at::Tensor& scores, const BudgetOptions& options) {
  const Slots slots(scores, options);
  if (options.budget == "global") {
    return share_globally(slots, options.keep);
  }
  if (options.budget == "curves") {
    return share_by_curves(slots, options);
  }
  if (options.budget == "pyramid") {
    return share_as_pyramid(slots, options.keep);
  }
  if (options.budget == "d2o") {
    return share_by_variance(slots, options.keep);
  }
  ALLUVIUM_CHECK(options.budget == "uniform", "unknown budget '{}'", options.budget);
  const auto kept = std::llround(options.keep * static_cast<double>(slots.rows));
  return std::vector<int64_t>(static_cast<std::size_t>(slots.count()), slots.clamp(kept));
}

KeptRows choose_rows(const at::Tensor& scores, const BudgetOptions& options) {
  const Slots slots(scores, options);
  KeptRows kept;
  kept.counts = share_rows(scores, options);
  const int64_t rows = std::accumulate(kept.counts.begin(), kept.counts.end(), int64_t{0});
  if (rows == slots.count() * slots.rows) {
    return {};
  }
  kept.positions = at::empty({rows}, at::TensorOptions().dtype(at::kLong));
  auto* position = kept.positions.mutable_data_ptr<int64_t>();
  for (int64_t slot = 0; slot < slots.count(); ++slot) {
    std::vector<int64_t> tokens = slots.order(slot);
    tokens.resize(static_cast<std::size_t>(kept.counts[static_cast<std::size_t>(slot)]));
    std::sort(tokens.begin(), tokens.end());
    position = std::copy(tokens.begin(), tokens.end(), position);
  }
  return kept;
}

}  // namespace alluvium::memory_bank
