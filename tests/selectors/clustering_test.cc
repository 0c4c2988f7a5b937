#include "alluvium/selectors/clustering.h"

#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/selectors/sign_projection.h"
#include "rows.h"
#include "support/catch.h"

namespace alluvium::selectors {
namespace {

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using Numbers = std::vector<int64_t>;

// `groups` balls of radius about 0.1 around far corners.
RowMatrix balls(int64_t groups, int64_t each, uint64_t seed) {
  Random random(seed);
  RowMatrix rows;
  for (int64_t i = 0; i < groups * each; ++i) {
    std::vector<float> row(12);
    for (float& value : row) {
      value = static_cast<float>(0.03 * random.normal());
    }
    row[static_cast<std::size_t>(i % groups)] += 5;
    rows.append(row);
  }
  return rows;
}

TEST_CASE("k_means: the sum of distances is not squared", "[selectors][adapt_inf]") {
  const Clustering found = k_means(rows_of({{0, 0}, {6, 0}}), {.clusters = 1});
  CHECK(found.centroids.values == std::vector<float>{3, 0});
  CHECK_THAT(found.distance_sum, WithinAbs(6.0, 1e-9));
  CHECK_THAT(found.inertia, WithinAbs(18.0, 1e-9));
}

TEST_CASE("k_means: separated groups are found, the same by the same seed",
          "[selectors][adapt_inf][property]") {
  const uint64_t seed = GENERATE(range(0U, 8U));
  CAPTURE(seed);
  const RowMatrix rows = balls(5, 30, seed);
  const Clustering found = k_means(rows, {.clusters = 5, .seed = seed});
  CHECK(found.labels == k_means(rows, {.clusters = 5, .seed = seed}).labels);
  for (int64_t i = 5; i < rows.rows(); ++i) {
    CHECK(found.labels[static_cast<std::size_t>(i)] ==
          found.labels[static_cast<std::size_t>(i - 5)]);
  }
  CHECK(std::set<int64_t>(found.labels.begin(), found.labels.end()).size() == 5);
}

TEST_CASE("k_means: no cluster is empty, even among copies", "[selectors][adapt_inf]") {
  const RowMatrix rows = rows_of({{1, 1}, {1, 1}, {1, 1}, {1, 1}, {2, 2}});
  const Clustering found = k_means(rows, {.clusters = 4});
  CHECK(std::set<int64_t>(found.labels.begin(), found.labels.end()).size() == 4);
  CHECK_THROWS_AS(k_means(rows, {.clusters = 6}), InvalidArgument);
  CHECK_THROWS_AS(k_means(rows_of({{NAN}}), {.clusters = 1}), InvalidArgument);
}

TEST_CASE("k_means: a warm start keeps its centroids' order, and grows and shrinks",
          "[selectors][adapt_inf]") {
  const RowMatrix rows = balls(4, 20, 3);
  const Clustering first = k_means(rows, {.clusters = 4});
  const Clustering again = k_means(rows, {.clusters = 4, .warm_start = &first.centroids});
  CHECK(again.labels == first.labels);
  const Clustering more = k_means(balls(5, 20, 3), {.clusters = 5, .warm_start = &first.centroids});
  CHECK(more.distance_sum < 100 * 0.3);
  CHECK(k_means(rows, {.clusters = 2, .warm_start = &first.centroids}).centroids.rows() == 2);
}

TEST_CASE("the knee is the point farthest from the chord", "[selectors][adapt_inf]") {
  CHECK(knee_of(Numbers{5, 10, 15, 20, 30}, std::vector<double>{100, 30, 25, 22, 20}) == 1);
  CHECK(knee_of(Numbers{5, 10, 15}, std::vector<double>{3, 2, 1}) == 0);
  CHECK(knee_of(Numbers{5}, std::vector<double>{3}) == 0);
  CHECK(choose_clusters(balls(10, 110, 1), 0) == 10);
  CHECK(choose_clusters(balls(2, 60, 1), 0) == 2);
  CHECK(choose_clusters(balls(1, 3, 1), 0) == 1);
}

TEST_CASE("signs: the counter's words and a projection", "[selectors][adapt_inf][oracle]") {
  CHECK(sign_word(0, 0, 0, 8) == 0xE220A8397B1DCDAFU);
  CHECK(sign_word(0, 1, 0, 8) == 0x6E789E6AA1B965F4U);
  CHECK(sign_word(0, 2, 0, 8) == 0x06C45D188009454FU);
  CHECK(project_dense(std::vector<float>{1, 0, 0}, 8, 0, false) ==
        std::vector<float>{1, 1, 1, 1, -1, 1, -1, 1});
  CHECK(project_dense(std::vector<float>{1, 2, 3}, 8, 0, false) ==
        std::vector<float>{2, 2, 6, 2, -2, 0, 4, 0});
  const std::vector<float> signs = sign_matrix(8, 3, 0);
  const std::vector<float> third = project_dense(std::vector<float>{0, 0, 1}, 8, 0, false);
  for (std::size_t row = 0; row < 8; ++row) {
    CHECK(signs[row * 3 + 2] == third[row]);
  }
}

TEST_CASE("signs: a dense projection keeps cosines", "[selectors][adapt_inf][property]") {
  const uint64_t seed = GENERATE(range(0U, 5U));
  CAPTURE(seed);
  Random random(seed);
  std::vector<float> a;
  std::vector<float> b;
  for (int i = 0; i < 200; ++i) {
    a.push_back(static_cast<float>(random.normal()));
    b.push_back(a.back() + 0.5F * static_cast<float>(random.normal()));
  }
  const auto cosine = [](std::vector<float> x, std::vector<float> y) {
    normalise_(x);
    normalise_(y);
    return static_cast<double>(dot(x, y));
  };
  CHECK_THAT(cosine(project_dense(a, 512, seed), project_dense(b, 512, seed)),
             WithinAbs(cosine(a, b), 0.05));
}

// Row by row, in double precision.
struct Matrix {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<double> values = std::vector<double>(rows * columns);

  double& at(std::size_t row, std::size_t column) { return values[row * columns + column]; }
  double at(std::size_t row, std::size_t column) const { return values[row * columns + column]; }
};

Matrix transposed(const Matrix& of) {
  Matrix result{of.columns, of.rows};
  for (std::size_t i = 0; i < of.rows; ++i) {
    for (std::size_t j = 0; j < of.columns; ++j) {
      result.at(j, i) = of.at(i, j);
    }
  }
  return result;
}

Matrix product(const Matrix& left, const Matrix& right) {
  Matrix result{left.rows, right.columns};
  for (std::size_t i = 0; i < left.rows; ++i) {
    for (std::size_t k = 0; k < left.columns; ++k) {
      for (std::size_t j = 0; j < right.columns; ++j) {
        result.at(i, j) += left.at(i, k) * right.at(k, j);
      }
    }
  }
  return result;
}

double inner(const Matrix& a, const Matrix& b) {
  return std::inner_product(a.values.begin(), a.values.end(), b.values.begin(), 0.0);
}

Matrix signs_of(int64_t rows, int64_t columns, uint64_t seed) {
  const std::vector<float> signs = sign_matrix(rows, columns, seed);
  return {static_cast<std::size_t>(rows), static_cast<std::size_t>(columns),
          std::vector<double>(signs.begin(), signs.end())};
}

constexpr int64_t kOut = 5;
constexpr int64_t kIn = 4;
constexpr int64_t kSide = 3;

// Two gradients, the second `share` of the first and the rest its own.
std::pair<Matrix, Matrix> two_gradients(double share) {
  Random random(2);
  std::pair<Matrix, Matrix> gradients(Matrix{kOut, kIn}, Matrix{kOut, kIn});
  for (std::size_t i = 0; i < gradients.first.values.size(); ++i) {
    gradients.first.values[i] = random.normal();
    gradients.second.values[i] = share * gradients.first.values[i] + (1 - share) * random.normal();
  }
  return gradients;
}

double sketched_product(const std::pair<Matrix, Matrix>& gradients, const Matrix& left,
                        const Matrix& right) {
  const auto sketch = [&](const Matrix& gradient) {
    return product(product(left, gradient), transposed(right));
  };
  return inner(sketch(gradients.first), sketch(gradients.second)) / (kSide * kSide);
}

struct Moments {
  double mean = 0;
  double variance = 0;
};

// `draw` gives a number for each seed.
template <class Draw>
Moments moments_of(int draws, const Draw& draw) {
  Moments moments;
  double squares = 0;
  for (uint64_t seed = 0; seed < static_cast<uint64_t>(draws); ++seed) {
    const double value = draw(seed);
    moments.mean += value / draws;
    squares += value * value / draws;
  }
  moments.variance = squares - moments.mean * moments.mean;
  return moments;
}

// Of s^T M s over independent signs s. Its mean is tr M; of the products s_i s_j, i != j, only equal pairs have a mean, so that what varies
// is sum over i != j of M_ij^2 + M_ij M_ji.
double variance_of_form(const Matrix& m) {
  double variance = inner(m, m) + inner(m, transposed(m));
  for (std::size_t i = 0; i < m.rows; ++i) {
    variance -= 2 * m.at(i, i) * m.at(i, i);
  }
  return variance;
}

// G1 (C^T C / c) G2^T: the sketches' product is the mean of s^T M s over the rows s of A.
Matrix form_of(const std::pair<Matrix, Matrix>& gradients, const Matrix& right) {
  Matrix form = product(product(gradients.first, transposed(right)),
                        product(right, transposed(gradients.second)));
  for (double& value : form.values) {
    value /= static_cast<double>(right.rows);
  }
  return form;
}

constexpr int kDraws = 12'000;

TEST_CASE("signs: two-sided sketches have the inner product as their mean",
          "[selectors][adapt_inf][property]") {
  const auto gradients = two_gradients(0);
  const Moments found = moments_of(4000, [&](uint64_t draw) {
    return sketched_product(gradients, signs_of(kSide, kOut, 2 * draw),
                            signs_of(kSide, kIn, 2 * draw + 1));
  });
  CHECK_THAT(found.mean, WithinAbs(inner(gradients.first, gradients.second),
                                   3 * std::sqrt(found.variance / 4000)));
}

TEST_CASE("signs: the inner product of two-sided sketches varies as the header says",
          "[selectors][adapt_inf][property]") {
  const double share = GENERATE(0.0, 0.5, 1.0);
  CAPTURE(share);
  const auto gradients = two_gradients(share);

  const Matrix right = signs_of(kSide, kIn, 77);
  const Moments given = moments_of(kDraws, [&](uint64_t draw) {
    return sketched_product(gradients, signs_of(kSide, kOut, draw), right);
  });
  const Matrix form = form_of(gradients, right);
  double trace = 0;
  for (std::size_t i = 0; i < form.rows; ++i) {
    trace += form.at(i, i);
  }
  CHECK_THAT(given.mean, WithinAbs(trace, 4 * std::sqrt(given.variance / kDraws)));
  CHECK_THAT(given.variance, WithinRel(variance_of_form(form) / kSide, 0.15));

  double expected = variance_of_form(product(transposed(gradients.first), gradients.second));
  const Moments both = moments_of(kDraws, [&](uint64_t draw) {
    const Matrix other = signs_of(kSide, kIn, 2 * draw + 1);
    expected += variance_of_form(form_of(gradients, other)) / kDraws;
    return sketched_product(gradients, signs_of(kSide, kOut, 2 * draw), other);
  });
  CHECK_THAT(both.variance, WithinRel(expected / kSide, 0.15));
}

TEST_CASE("signs: the inner product of dense projections varies as the header says",
          "[selectors][adapt_inf][property]") {
  const double share = GENERATE(0.0, 0.5, 1.0);
  CAPTURE(share);
  constexpr int64_t kOutputs = 9;
  const auto [first, second] = two_gradients(share);
  const std::vector<float> a(first.values.begin(), first.values.end());
  const std::vector<float> b(second.values.begin(), second.values.end());
  const Moments found = moments_of(kDraws, [&](uint64_t seed) {
    return static_cast<double>(
        dot(project_dense(a, kOutputs, seed), project_dense(b, kOutputs, seed)));
  });
  const double exact = inner(first, second);
  double expected = inner(first, first) * inner(second, second) + exact * exact;
  for (std::size_t p = 0; p < a.size(); ++p) {
    expected -= 2 * std::pow(first.values[p] * second.values[p], 2);
  }
  CHECK_THAT(found.mean, WithinAbs(exact, 4 * std::sqrt(found.variance / kDraws)));
  CHECK_THAT(found.variance, WithinRel(expected / kOutputs, 0.15));
}

}  // namespace
}  // namespace alluvium::selectors
