#include "alluvium/selectors/row_matrix.h"

#include <array>
#include <cmath>

#include "alluvium/core/error.h"

namespace alluvium::selectors {

void RowMatrix::append(std::span<const float> row) {
  if (values.empty()) {
    dimension = std::ssize(row);
  }
  ALLUVIUM_CHECK(std::ssize(row) == dimension && dimension > 0,
                 "a row of {} numbers does not fit a matrix of rows of {}", row.size(), dimension);
  values.insert(values.end(), row.begin(), row.end());
}

RowMatrix RowMatrix::pick(std::span<const int64_t> indices) const {
  RowMatrix picked;
  picked.dimension = dimension;
  for (const int64_t i : indices) {
    const std::span<const float> from = row(i);
    picked.values.insert(picked.values.end(), from.begin(), from.end());
  }
  return picked;
}

float dot(std::span<const float> a, std::span<const float> b) {
  constexpr std::size_t kLanes = 8;
  std::array<float, kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= a.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += a[i + lane] * b[i + lane];
    }
  }
  float sum = 0;
  for (const float lane : sums) {
    sum += lane;
  }
  for (; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

double normalise_(std::span<float> row) {
  double squares = 0;
  for (const float value : row) {
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  const double length = std::sqrt(squares);
  if (length > 0) {
    for (float& value : row) {
      value = static_cast<float>(static_cast<double>(value) / length);
    }
  }
  return length;
}

}  // namespace alluvium::selectors
