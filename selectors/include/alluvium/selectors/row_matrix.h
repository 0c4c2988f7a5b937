// Vectors of one dimension, one after another: what clusters, prototypes and similarities are computed of.
//
// Threads: plain data.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace alluvium::selectors {

struct RowMatrix {
  int64_t dimension = 0;
  std::vector<float> values;  ///< row by row

  int64_t rows() const {
    return dimension == 0 ? 0 : static_cast<int64_t>(values.size()) / dimension;
  }
  std::span<const float> row(int64_t i) const {
    return {values.data() + i * dimension, static_cast<std::size_t>(dimension)};
  }
  std::span<float> row(int64_t i) {
    return {values.data() + i * dimension, static_cast<std::size_t>(dimension)};
  }

  /// The first row fixes the dimension. Throws InvalidArgument on a row of another.
  void append(std::span<const float> row);

  /// The rows named, in that order.
  RowMatrix pick(std::span<const int64_t> indices) const;
};

/// Sum of products in float32, eight at a time; the same on every call.
float dot(std::span<const float> a, std::span<const float> b);

/// Scales a row to length 1 in place; a row of zeros stays. Returns the length it had.
double normalise_(std::span<float> row);

}  // namespace alluvium::selectors
