#include "kv/residual.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>

#include <c10/util/Half.h>

#include "alluvium/core/random.h"

namespace alluvium::memory_bank {
namespace {

constexpr int64_t kRounds = 3;
constexpr uint64_t kStart = 1;  // seed of the first P

using Columns = std::vector<double>;  // [rank][length]

std::size_t size(int64_t count) { return static_cast<std::size_t>(count); }

double dot(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// Gram-Schmidt. A column that lies in the span of those before it becomes 0.
void orthonormalise_(Columns& columns, std::size_t length) {
  constexpr double kNothing = 1e-10;  // of a column's length
  for (std::size_t begin = 0; begin < columns.size(); begin += length) {
    const std::span column(columns.data() + begin, length);
    const double before = std::sqrt(dot(column, column));
    for (int pass = 0; pass < 2; ++pass) {  // once more for what rounding left
      for (std::size_t other = 0; other < begin; other += length) {
        const std::span earlier(columns.data() + other, length);
        const double along = dot(column, earlier);
        for (std::size_t i = 0; i < length; ++i) {
          column[i] -= along * earlier[i];
        }
      }
    }
    const double after = std::sqrt(dot(column, column));
    const double scale = after > kNothing * before ? 1 / after : 0;
    std::for_each(column.begin(), column.end(), [&](double& x) { x *= scale; });
  }
}

double squared_distance(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double difference = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += difference * difference;
  }
  return sum;
}

void write_halves(const Columns& columns, std::byte*& out) {
  for (const double x : columns) {
    const c10::Half half(static_cast<float>(x));
    std::memcpy(out, &half, sizeof(half));
    out += sizeof(half);
  }
}

std::vector<float> read_halves(const std::byte*& bytes, int64_t count) {
  std::vector<c10::Half> halves(size(count));
  std::memcpy(halves.data(), bytes, halves.size() * sizeof(c10::Half));
  bytes += halves.size() * sizeof(c10::Half);
  return {halves.begin(), halves.end()};
}

int64_t useful_rank(int64_t rows, int64_t channels, int64_t rank) {
  return std::min({rank, rows, channels});
}

}  // namespace

Factors factorise(const std::vector<double>& matrix, int64_t rows, int64_t channels,
                  std::vector<double> start, int64_t rounds) {
  const std::size_t n = size(rows);
  const std::size_t d = size(channels);
  const std::size_t rank = start.size() / d;
  Factors factors{.left = Columns(rank * n), .right = std::move(start)};
  for (int64_t round = 0; round < rounds; ++round) {
    orthonormalise_(factors.right, d);
    for (std::size_t k = 0; k < rank; ++k) {
      for (std::size_t r = 0; r < n; ++r) {
        factors.left[k * n + r] =
            dot({matrix.data() + r * d, d}, {factors.right.data() + k * d, d});
      }
    }
    orthonormalise_(factors.left, n);
    std::fill(factors.right.begin(), factors.right.end(), 0.0);
    for (std::size_t k = 0; k < rank; ++k) {
      for (std::size_t r = 0; r < n; ++r) {
        for (std::size_t c = 0; c < d; ++c) {
          factors.right[k * d + c] += factors.left[k * n + r] * matrix[r * d + c];
        }
      }
    }
  }
  return factors;
}

std::size_t residual_bytes(int64_t rows, int64_t channels, int64_t rank) {
  return size(useful_rank(rows, channels, rank) * (rows + channels)) * sizeof(c10::Half);
}

void write_residual(const float* exact, const float* decoded, int64_t rows, int64_t channels,
                    int64_t rank, std::byte* out) {
  const int64_t elements = rows * channels;
  std::vector<double> residual(size(elements));
  for (std::size_t i = 0; i < residual.size(); ++i) {
    residual[i] = static_cast<double>(exact[i]) - static_cast<double>(decoded[i]);
  }
  Random random(kStart);
  Columns start(size(useful_rank(rows, channels, rank) * channels));
  std::generate(start.begin(), start.end(), [&] { return random.normal(); });
  const Factors factors = factorise(residual, rows, channels, std::move(start), kRounds);
  std::byte* end = out;
  write_halves(factors.left, end);
  write_halves(factors.right, end);

  std::vector<float> nearer(decoded, decoded + elements);
  add_residual(out, rows, channels, rank, nearer.data());
  // Also when a factor is not finite in float16.
  if (!(squared_distance(exact, nearer.data(), elements) <
        squared_distance(exact, decoded, elements))) {
    std::fill(out, end, std::byte{0});
  }
}

void add_residual(const std::byte* bytes, int64_t rows, int64_t channels, int64_t rank,
                  float* decoded) {
  const int64_t useful = useful_rank(rows, channels, rank);
  const std::vector<float> left = read_halves(bytes, useful * rows);
  const std::vector<float> right = read_halves(bytes, useful * channels);
  for (int64_t k = 0; k < useful; ++k) {
    const float* along = right.data() + k * channels;
    for (int64_t r = 0; r < rows; ++r) {
      const float share = left[size(k * rows + r)];
      float* row = decoded + r * channels;
      for (int64_t c = 0; c < channels; ++c) {
        row[c] += share * along[c];
      }
    }
  }
}

}  // namespace alluvium::memory_bank
