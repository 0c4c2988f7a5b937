#include "alluvium/selectors/sign_projection.h"

#include <algorithm>
#include <cmath>

#include "alluvium/core/error.h"

namespace alluvium::selectors {
namespace {

constexpr int64_t kWordBits = 64;

int64_t blocks_of(int64_t outputs) { return (outputs + kWordBits - 1) / kWordBits; }

}  // namespace

uint64_t sign_word(uint64_t seed, int64_t parameter, int64_t block, int64_t outputs) {
  const auto counter = static_cast<uint64_t>(parameter * blocks_of(outputs) + block + 1);
  uint64_t z = seed + counter * 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31U);
}

std::vector<float> project_dense(std::span<const float> g, int64_t outputs, uint64_t seed,
                                 bool scaled) {
  ALLUVIUM_CHECK(outputs >= 1, "outputs must be at least 1, got {}", outputs);
  std::vector<float> projected(static_cast<std::size_t>(outputs));
  for (std::size_t p = 0; p < g.size(); ++p) {
    for (int64_t block = 0; block < blocks_of(outputs); ++block) {
      const uint64_t word = sign_word(seed, static_cast<int64_t>(p), block, outputs);
      const int64_t begin = block * kWordBits;
      for (int64_t d = begin; d < std::min(outputs, begin + kWordBits); ++d) {
        const bool plus = ((word >> static_cast<uint64_t>(d - begin)) & 1U) != 0;
        projected[static_cast<std::size_t>(d)] += plus ? g[p] : -g[p];
      }
    }
  }
  if (scaled) {
    const float scale = 1.0F / std::sqrt(static_cast<float>(outputs));
    for (float& value : projected) {
      value *= scale;
    }
  }
  return projected;
}

std::vector<float> sign_matrix(int64_t rows, int64_t columns, uint64_t seed) {
  ALLUVIUM_CHECK(rows >= 1 && columns >= 1, "a sign matrix needs rows and columns, got [{}, {}]",
                 rows, columns);
  std::vector<float> signs(static_cast<std::size_t>(rows * columns));
  for (int64_t column = 0; column < columns; ++column) {
    for (int64_t row = 0; row < rows; ++row) {
      const uint64_t word = sign_word(seed, column, row / kWordBits, rows);
      const bool plus = ((word >> static_cast<uint64_t>(row % kWordBits)) & 1U) != 0;
      signs[static_cast<std::size_t>(row * columns + column)] = plus ? 1.0F : -1.0F;
    }
  }
  return signs;
}

}  // namespace alluvium::selectors
