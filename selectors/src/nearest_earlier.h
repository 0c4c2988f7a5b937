// The nearest earlier row of each row, where there are too many rows to compare all pairs.
//
// Source : HNSW (Malkov and Yashunin, 2018) through hnswlib: each row asks the graph of those before it for its nearest, then joins it.
// Differs: a row that equals its nearest bit for bit does not join: it could tell later rows nothing new, and a flood of copies would
//          fill the links of all that is near it.
// Cost   : about 17,000 * dimension multiply-adds a row (two walks, and the choice of links), and 150 bytes beside a copy of it.
// Threads: a pure function; one thread, since the order of insertion makes the graph.
#pragma once

#include <cstdint>
#include <vector>

#include "alluvium/selectors/row_matrix.h"

namespace alluvium::selectors {

/// For each row of `unit_rows` (length 1) the row before it with the highest cosine that the graph found; -1 for the first. The same on
/// every call on one kind of processor (hnswlib's products differ in the last bits between instruction sets). Throws ResourceExhausted.
std::vector<int64_t> nearest_earlier(const RowMatrix& unit_rows);

}  // namespace alluvium::selectors
