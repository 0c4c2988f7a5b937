#include "key_ranking.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {

std::size_t check_dimension(int64_t dimension) {
  ALLUVIUM_CHECK(dimension > 0, "key dimension must be positive, got {}", dimension);
  return static_cast<std::size_t>(dimension);
}

void check_query(std::span<const float> query, std::size_t dimension) {
  ALLUVIUM_CHECK(query.size() == dimension, "a query of {} values, the keys have {}", query.size(),
                 dimension);
}

std::size_t count_keys(std::span<const float> keys, std::size_t dimension) {
  ALLUVIUM_CHECK(!keys.empty() && keys.size() % dimension == 0,
                 "{} key values are not one or more rows of {}", keys.size(), dimension);
  return keys.size() / dimension;
}

float dot(std::span<const float> query, const float* key) {
  // Sixteen sums side by side: the compiler may not reorder one float sum, but it can put these
  // into vector registers.
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> sums{};
  const std::size_t whole = query.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += query[i + lane] * key[i + lane];
    }
  }
  float sum = std::accumulate(sums.begin(), sums.end(), 0.0F);
  for (std::size_t i = whole; i < query.size(); ++i) {
    sum += query[i] * key[i];
  }
  return sum;
}

std::vector<KeyHit> take_best(std::vector<KeyHit> hits, int64_t limit) {
  const std::size_t kept =
      std::min(hits.size(), static_cast<std::size_t>(std::max<int64_t>(limit, 0)));
  std::partial_sort(
      hits.begin(), hits.begin() + kept, hits.end(), [](const KeyHit& a, const KeyHit& b) {
        return a.score != b.score ? a.score > b.score : a.document_row < b.document_row;
      });
  hits.resize(kept);
  return hits;
}

}  // namespace alluvium::memory_bank
