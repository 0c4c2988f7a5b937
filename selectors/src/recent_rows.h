// The last vectors of a stream, and which of them is nearest to another one.
//
// Purpose: duplicates by embedding (SemDeDup: Abbas et al., 2023) where the pool never ends, so that no clustering of it can be made.
// Differs: every remembered row is compared, not those of a cluster only. Exact on purpose, though the default of 262,144 rows would be
//          a size for an HNSW graph: a graph that forgets must mark and re-use its nodes, which costs more than adding them and makes
//          answers depend on all that was ever forgotten, so that a saved run could only go on alike if the graph itself were saved.
// Cost   : a row that cannot pass is given up by its first 64 numbers: what the rest could add is at most the product of the rests' lengths.
//          Of 262,144 rows of 384, one core: 4 ms a search for a cosine above 0.98 (25 ms for any above 0).
//          Memory: capacity * (dimension + 1) floats when full, 0.4 GB at 262,144 rows of 384.
// Threads: nearest_above() may run on many threads; the rest is owned by one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "alluvium/selectors/row_matrix.h"

namespace alluvium::selectors {

class RecentRows {
 public:
  /// Beyond `capacity` rows the oldest is forgotten; at least 1.
  explicit RecentRows(int64_t capacity) : capacity_(capacity) {}

  struct Near {
    int64_t place = 0;  ///< 0 = the oldest that is remembered
    float cosine = 0;
  };

  /// The row with the highest cosine to `unit_row`, of equal ones the oldest, if it is above `least`. Throws InvalidArgument on a row of
  /// another dimension than those remembered.
  std::optional<Near> nearest_above(std::span<const float> unit_row, float least) const;

  /// Throws likewise.
  void append(std::span<const float> unit_row);

  int64_t size() const { return heads_.rows(); }

  /// Oldest first. restore() replaces everything; what is beyond the capacity is forgotten.
  RowMatrix rows() const;
  void restore(const RowMatrix& rows);

 private:
  void check_dimension(std::span<const float> unit_row) const;

  // A row is its first numbers and the others, each kind by itself: a search reads few of the latter.
  int64_t capacity_;
  RowMatrix heads_;
  RowMatrix tails_;
  std::vector<float> tail_lengths_;
  int64_t oldest_ = 0;  // slot of it, once the capacity is reached
};

}  // namespace alluvium::selectors
