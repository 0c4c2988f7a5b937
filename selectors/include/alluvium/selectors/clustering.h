// k-means with a seed, a warm start, and a rule for the number of clusters.
//
// Source : Lloyd, 1982; k-means++: Arthur and Vassilvitskii, SODA 2007; farthest points: Gonzalez, 1985; the pseudo-skill clusters of
//          Adapt-inf (Maharana et al., ICLR 2025).
// Differs: all rows in each iteration (the reference takes mini-batches without a seed). One start takes the farthest points, without which
//          a group of 20 among 2,600 is missed more often than found. An empty cluster begins anew at the row farthest from its centroid.
// Cost   : rows * clusters * dimension multiply-adds an iteration and start.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "alluvium/selectors/row_matrix.h"

namespace alluvium::selectors {

struct KMeansOptions {
  int64_t clusters = 10;  ///< at least 1; no more than the rows
  int64_t starts =
      3;  ///< the last from farthest points, the others from k-means++; the best is kept
  int64_t iterations = 100;  ///< at most; it ends when no label changes
  uint64_t seed = 0;
  /// Centroids of the only start then made: where there are too many, those with the most rows; where too few, k-means++ adds the rest. May be null.
  const RowMatrix* warm_start = nullptr;
};

struct Clustering {
  RowMatrix centroids;
  std::vector<int64_t> labels;  ///< of each row; every cluster has at least one row
  double distance_sum =
      0;  ///< sum of distances, not squared: the "WSS" of the reference, and what the knee goes by
  double inertia = 0;  ///< sum of squared distances
};

/// Throws InvalidArgument without rows, on clusters outside [1, rows], a warm start of another dimension, or numbers that are not finite.
Clustering k_means(const RowMatrix& rows, const KMeansOptions& options);

/// Index of the point farthest from the chord between the first and the last; 0 of fewer than three.
int64_t knee_of(std::span<const int64_t> grid, std::span<const double> distance_sums);

/// The knee over {5, 10, 15, 20, 30, 40, 50}, at most one cluster for 50 rows, on at most 20,000 rows drawn by the seed. With fewer than
/// 250 rows: max(1, rows / 50).
int64_t choose_clusters(const RowMatrix& rows, uint64_t seed);

}  // namespace alluvium::selectors
