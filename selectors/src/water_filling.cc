#include "alluvium/selectors/water_filling.h"

#include <algorithm>
#include <numeric>

#include "alluvium/core/error.h"

namespace alluvium::selectors {

std::vector<int64_t> water_fill(std::span<const int64_t> capacities, int64_t total) {
  ALLUVIUM_CHECK(total >= 0, "total must not be negative, got {}", total);
  for (const int64_t capacity : capacities) {
    ALLUVIUM_CHECK(capacity >= 0, "a capacity must not be negative, got {}", capacity);
  }
  std::vector<std::size_t> order(capacities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return capacities[a] < capacities[b]; });
  int64_t rest = std::min(total, std::accumulate(capacities.begin(), capacities.end(), int64_t{0}));
  std::vector<int64_t> shares(capacities.size());
  for (std::size_t visited = 0; visited < order.size(); ++visited) {
    const auto left = static_cast<int64_t>(order.size() - visited);
    const std::size_t i = order[visited];
    shares[i] = std::min(capacities[i], rest / left);
    rest -= shares[i];
  }
  return shares;
}

}  // namespace alluvium::selectors
