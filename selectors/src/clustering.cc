#include "alluvium/selectors/clustering.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"

namespace alluvium::selectors {
namespace {

constexpr std::array<int64_t, 7> kGrid = {5, 10, 15, 20, 30, 40, 50};
constexpr int64_t kRowsPerCluster = 50;
constexpr int64_t kKneeRows = 20'000;

double squared_distance(std::span<const float> a, std::span<const float> b) {
  std::array<float, 8> sums{};
  std::size_t i = 0;
  for (; i + sums.size() <= a.size(); i += sums.size()) {
    for (std::size_t lane = 0; lane < sums.size(); ++lane) {
      const float difference = a[i + lane] - b[i + lane];
      sums[lane] += difference * difference;
    }
  }
  double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  for (; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

enum class Seeding { farthest, plus_plus };

class Lloyd {
 public:
  Lloyd(const RowMatrix& rows, const KMeansOptions& options, Seeding seeding, uint64_t seed)
      : rows_(rows), options_(options), seeding_(seeding), random_(seed) {
    nearest_.assign(static_cast<std::size_t>(rows.rows()), std::numeric_limits<double>::infinity());
    result_.centroids.dimension = rows.dimension;
    result_.labels.assign(static_cast<std::size_t>(rows.rows()), -1);
  }

  Clustering run() {
    seed_centroids();
    for (int64_t iteration = 0; iteration < options_.iterations; ++iteration) {
      const bool changed = assign();
      const bool reseeded = fill_empty();
      if (!changed && !reseeded) {
        break;
      }
      move_centroids();
    }
    assign();
    fill_empty();
    for (const double distance : nearest_) {
      result_.inertia += distance;
      result_.distance_sum += std::sqrt(distance);
    }
    return std::move(result_);
  }

 private:
  void add_centroid(std::span<const float> centroid) {
    result_.centroids.append(centroid);
    for (int64_t i = 0; i < rows_.rows(); ++i) {
      double& distance = nearest_[static_cast<std::size_t>(i)];
      distance = std::min(distance, squared_distance(rows_.row(i), centroid));
    }
  }

  void seed_centroids() {
    if (options_.warm_start != nullptr) {
      for (const int64_t c : warm_centroids()) {
        add_centroid(options_.warm_start->row(c));
      }
    }
    while (result_.centroids.rows() < options_.clusters) {
      add_centroid(rows_.row(draw_row()));
    }
  }

  // All of them, or those with the most rows.
  std::vector<int64_t> warm_centroids() const {
    const RowMatrix& old = *options_.warm_start;
    std::vector<int64_t> order(static_cast<std::size_t>(old.rows()));
    std::iota(order.begin(), order.end(), 0);
    if (old.rows() > options_.clusters) {
      std::vector<int64_t> members(order.size());
      for (int64_t i = 0; i < rows_.rows(); ++i) {
        int64_t best = 0;
        double least = std::numeric_limits<double>::infinity();
        for (int64_t c = 0; c < old.rows(); ++c) {
          const double distance = squared_distance(rows_.row(i), old.row(c));
          if (distance < least) {
            least = distance;
            best = c;
          }
        }
        ++members[static_cast<std::size_t>(best)];
      }
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return members[static_cast<std::size_t>(a)] > members[static_cast<std::size_t>(b)];
      });
      order.resize(static_cast<std::size_t>(options_.clusters));
      std::sort(order.begin(), order.end());
    }
    return order;
  }

  // k-means++: in proportion to the squared distance to the nearest centroid. By farthest points: the farthest one.
  int64_t draw_row() {
    if (result_.centroids.rows() == 0) {
      return static_cast<int64_t>(random_.below(static_cast<uint64_t>(rows_.rows())));
    }
    if (seeding_ == Seeding::farthest) {
      return std::max_element(nearest_.begin(), nearest_.end()) - nearest_.begin();
    }
    const double total = std::accumulate(nearest_.begin(), nearest_.end(), 0.0);
    double left = random_.uniform() * total;
    for (std::size_t i = 0; i < nearest_.size(); ++i) {
      left -= nearest_[i];
      if (left < 0) {
        return static_cast<int64_t>(i);
      }
    }
    // All rows lie on centroids.
    return static_cast<int64_t>(random_.below(static_cast<uint64_t>(rows_.rows())));
  }

  bool assign() {
    bool changed = false;
    for (int64_t i = 0; i < rows_.rows(); ++i) {
      const auto at = static_cast<std::size_t>(i);
      int64_t best = 0;
      double least = std::numeric_limits<double>::infinity();
      for (int64_t c = 0; c < options_.clusters; ++c) {
        const double distance = squared_distance(rows_.row(i), result_.centroids.row(c));
        if (distance < least) {
          least = distance;
          best = c;
        }
      }
      changed = changed || result_.labels[at] != best;
      result_.labels[at] = best;
      nearest_[at] = least;
    }
    return changed;
  }

  // Gives an empty cluster the farthest row of a cluster that has others.
  bool fill_empty() {
    std::vector<int64_t> members(static_cast<std::size_t>(options_.clusters));
    for (const int64_t label : result_.labels) {
      ++members[static_cast<std::size_t>(label)];
    }
    bool any = false;
    for (int64_t c = 0; c < options_.clusters; ++c) {
      if (members[static_cast<std::size_t>(c)] > 0) {
        continue;
      }
      std::size_t farthest = rows_.values.size();
      for (std::size_t i = 0; i < nearest_.size(); ++i) {
        if (members[static_cast<std::size_t>(result_.labels[i])] > 1 &&
            (farthest == rows_.values.size() || nearest_[i] > nearest_[farthest])) {
          farthest = i;
        }
      }
      --members[static_cast<std::size_t>(result_.labels[farthest])];
      result_.labels[farthest] = c;
      members[static_cast<std::size_t>(c)] = 1;
      nearest_[farthest] = 0;
      const auto row = rows_.row(static_cast<int64_t>(farthest));
      std::copy(row.begin(), row.end(), result_.centroids.row(c).begin());
      any = true;
    }
    return any;
  }

  void move_centroids() {
    const auto dimension = static_cast<std::size_t>(rows_.dimension);
    std::vector<double> sums(static_cast<std::size_t>(options_.clusters) * dimension);
    std::vector<double> members(static_cast<std::size_t>(options_.clusters));
    for (int64_t i = 0; i < rows_.rows(); ++i) {
      const auto label = static_cast<std::size_t>(result_.labels[static_cast<std::size_t>(i)]);
      const std::span<const float> row = rows_.row(i);
      for (std::size_t d = 0; d < dimension; ++d) {
        sums[label * dimension + d] += static_cast<double>(row[d]);
      }
      ++members[label];
    }
    for (std::size_t i = 0; i < sums.size(); ++i) {
      result_.centroids.values[i] = static_cast<float>(sums[i] / members[i / dimension]);
    }
  }

  const RowMatrix& rows_;
  const KMeansOptions& options_;
  const Seeding seeding_;
  Random random_;
  std::vector<double> nearest_;  // squared distance to the nearest centroid
  Clustering result_;
};

}  // namespace

Clustering k_means(const RowMatrix& rows, const KMeansOptions& options) {
  ALLUVIUM_CHECK(options.clusters >= 1 && options.clusters <= rows.rows(),
                 "clusters must lie in [1, {}], got {}", rows.rows(), options.clusters);
  ALLUVIUM_CHECK(options.starts >= 1, "starts must be at least 1, got {}", options.starts);
  ALLUVIUM_CHECK(options.iterations >= 1, "iterations must be at least 1, got {}",
                 options.iterations);
  const RowMatrix* warm = options.warm_start;
  ALLUVIUM_CHECK(warm == nullptr || warm->dimension == rows.dimension,
                 "a warm start of dimension {} does not fit rows of {}", warm->dimension,
                 rows.dimension);
  ALLUVIUM_CHECK(std::all_of(rows.values.begin(), rows.values.end(),
                             [](float value) { return std::isfinite(value); }),
                 "rows to cluster must be finite");
  Clustering best;
  for (int64_t start = 0; start < (warm != nullptr ? 1 : options.starts); ++start) {
    const bool farthest = warm == nullptr && start + 1 == options.starts && start > 0;
    Clustering found = Lloyd(rows, options, farthest ? Seeding::farthest : Seeding::plus_plus,
                             options.seed + 1'000'003 * static_cast<uint64_t>(start))
                           .run();
    if (start == 0 || found.inertia < best.inertia) {
      best = std::move(found);
    }
  }
  return best;
}

int64_t knee_of(std::span<const int64_t> grid, std::span<const double> distance_sums) {
  ALLUVIUM_CHECK(grid.size() == distance_sums.size() && !grid.empty(),
                 "a knee needs one sum a grid point, got {} for {}", distance_sums.size(),
                 grid.size());
  // Both axes scaled to [0, 1], so that no unit matters; the chord is then y = 1 - x.
  const auto width = static_cast<double>(grid.back() - grid.front());
  const double height = distance_sums.front() - distance_sums.back();
  int64_t knee = 0;
  double farthest = 0;
  for (std::size_t i = 1; i + 1 < grid.size() && width > 0 && height > 0; ++i) {
    const double x = static_cast<double>(grid[i] - grid.front()) / width;
    const double y = (distance_sums[i] - distance_sums.back()) / height;
    if (1 - x - y > farthest) {
      farthest = 1 - x - y;
      knee = static_cast<int64_t>(i);
    }
  }
  return knee;
}

int64_t choose_clusters(const RowMatrix& rows, uint64_t seed) {
  const int64_t most = std::max<int64_t>(1, rows.rows() / kRowsPerCluster);
  std::vector<int64_t> grid;
  std::copy_if(kGrid.begin(), kGrid.end(), std::back_inserter(grid),
               [most](int64_t clusters) { return clusters <= most; });
  if (grid.size() < 2) {
    return grid.empty() ? most : grid.front();
  }
  std::vector<int64_t> order(static_cast<std::size_t>(rows.rows()));
  std::iota(order.begin(), order.end(), 0);
  Random(seed).shuffle(order);
  order.resize(std::min<std::size_t>(order.size(), kKneeRows));
  const RowMatrix drawn = rows.pick(order);
  std::vector<double> sums;
  for (const int64_t clusters : grid) {
    KMeansOptions options;
    options.clusters = clusters;
    options.starts = 1;
    options.seed = seed;
    sums.push_back(k_means(drawn, options).distance_sum);
  }
  return grid[static_cast<std::size_t>(knee_of(grid, sums))];
}

}  // namespace alluvium::selectors
