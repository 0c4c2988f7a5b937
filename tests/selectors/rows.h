// Rows written out in a test.
#pragma once

#include <vector>

#include "alluvium/selectors/row_matrix.h"

namespace alluvium::selectors {

inline RowMatrix rows_of(const std::vector<std::vector<float>>& rows) {
  RowMatrix matrix;
  for (const std::vector<float>& row : rows) {
    matrix.append(row);
  }
  return matrix;
}

}  // namespace alluvium::selectors
