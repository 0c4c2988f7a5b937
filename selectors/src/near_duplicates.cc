#include "alluvium/selectors/near_duplicates.h"

#include <algorithm>
#include <numeric>

#include "alluvium/core/error.h"
#include "nearest_earlier.h"

namespace alluvium::selectors {

namespace {

std::vector<float> compare_all_pairs(const RowMatrix& unit_rows) {
  constexpr int64_t kBlock = 64;  // earlier rows that stay in the cache while later ones pass
  std::vector<float> highest(static_cast<std::size_t>(unit_rows.rows()));
  for (int64_t begin = 0; begin < unit_rows.rows(); begin += kBlock) {
    const int64_t end = std::min(unit_rows.rows(), begin + kBlock);
    for (int64_t j = begin + 1; j < unit_rows.rows(); ++j) {
      float& best = highest[static_cast<std::size_t>(j)];
      for (int64_t i = begin; i < std::min(j, end); ++i) {
        best = std::max(best, dot(unit_rows.row(i), unit_rows.row(j)));
      }
    }
  }
  return highest;
}

}  // namespace

std::vector<float> similarity_to_earlier(const RowMatrix& unit_rows, int64_t all_pairs) {
  if (unit_rows.rows() <= all_pairs) {
    return compare_all_pairs(unit_rows);
  }
  const std::vector<int64_t> nearest = nearest_earlier(unit_rows);
  std::vector<float> highest(nearest.size());
  for (std::size_t j = 1; j < nearest.size(); ++j) {
    // Of our own product: where the graph is right, M is what comparing all pairs gives.
    highest[j] =
        std::max(0.0F, dot(unit_rows.row(nearest[j]), unit_rows.row(static_cast<int64_t>(j))));
  }
  return highest;
}

Kept keep_least_similar(std::span<const float> similarities, float threshold, int64_t budget) {
  ALLUVIUM_CHECK(budget >= 0, "budget must not be negative, got {}", budget);
  Kept kept;
  for (std::size_t j = 0; j < similarities.size(); ++j) {
    (similarities[j] > threshold ? kept.duplicates : kept.rows).push_back(static_cast<int64_t>(j));
  }
  if (std::ssize(kept.rows) > budget) {
    std::stable_sort(kept.rows.begin(), kept.rows.end(), [&](int64_t a, int64_t b) {
      return similarities[static_cast<std::size_t>(a)] < similarities[static_cast<std::size_t>(b)];
    });
    kept.over_budget.assign(kept.rows.begin() + budget, kept.rows.end());
    kept.rows.resize(static_cast<std::size_t>(budget));
    std::sort(kept.rows.begin(), kept.rows.end());
    std::sort(kept.over_budget.begin(), kept.over_budget.end());
  }
  return kept;
}

}  // namespace alluvium::selectors
