// How similar each row is to the nearest one before it, and who is kept by that.
//
// Source : SemDeDup (Abbas et al., 2023) as Adapt-inf prunes with it (Maharana et al., ICLR 2025): M_j = max(0, max over i < j of cosine).
// Differs: a duplicate threshold comes before the budget; the reference keeps copies while the budget lasts.
// Cost   : rows^2 / 2 * dimension multiply-adds; no similarity matrix is kept.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "alluvium/selectors/row_matrix.h"

namespace alluvium::selectors {

/// M of each row of `unit_rows` (length 1), in order; 0 for the first. Clamped at 0.
std::vector<float> similarity_to_earlier(const RowMatrix& unit_rows);

struct Kept {
  std::vector<int64_t> rows;        ///< ascending
  std::vector<int64_t> duplicates;  ///< M above the threshold
  std::vector<int64_t> over_budget;
};

/// Drops rows with M > threshold, then keeps the `budget` smallest M of the rest (of equal ones the earlier).
Kept keep_least_similar(std::span<const float> similarities, float threshold, int64_t budget);

}  // namespace alluvium::selectors
