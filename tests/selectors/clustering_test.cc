#include "alluvium/selectors/clustering.h"

#include <cmath>
#include <set>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/selectors/near_duplicates.h"
#include "alluvium/selectors/sign_projection.h"
#include "support/catch.h"

namespace alluvium::selectors {
namespace {

using Catch::Matchers::WithinAbs;
using Numbers = std::vector<int64_t>;

RowMatrix rows_of(const std::vector<std::vector<float>>& rows) {
  RowMatrix matrix;
  for (const std::vector<float>& row : rows) {
    matrix.append(row);
  }
  return matrix;
}

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

TEST_CASE("pruning: similarity to earlier rows and who is kept", "[selectors][adapt_inf]") {
  RowMatrix rows = rows_of({{1, 0}, {1, 0.1F}, {0, 1}, {-1, 0.2F}, {0.1F, 1}});
  for (int64_t i = 0; i < rows.rows(); ++i) {
    normalise_(rows.row(i));
  }
  const std::vector<float> similarities = similarity_to_earlier(rows);
  const std::vector<double> wanted = {0, 0.995037, 0.099504, 0.196116, 0.995037};
  for (std::size_t j = 0; j < wanted.size(); ++j) {
    CHECK_THAT(static_cast<double>(similarities[j]), WithinAbs(wanted[j], 1e-5));
  }
  CHECK(keep_least_similar(similarities, 2, 3).rows == Numbers{0, 2, 3});
  // The reference's rule, which has no threshold: of a cluster of copies a whole budget of copies stays.
  const std::vector<float> copies = {0, 1, 1, 1, 1, 1};
  CHECK(keep_least_similar(copies, 2, 4).rows.size() == 4);
  CHECK(keep_least_similar(copies, 0.98F, 4).rows == Numbers{0});
  const Kept kept = keep_least_similar(similarities, 0.98F, 2);
  CHECK(kept.rows == Numbers{0, 2});
  CHECK(kept.duplicates == Numbers{1, 4});
  CHECK(kept.over_budget == Numbers{3});
}

TEST_CASE("pruning: blocks give what the whole matrix gives", "[selectors][adapt_inf][property]") {
  const RowMatrix rows = [] {
    RowMatrix made = balls(3, 70, 4);
    for (int64_t i = 0; i < made.rows(); ++i) {
      normalise_(made.row(i));
    }
    return made;
  }();
  const std::vector<float> similarities = similarity_to_earlier(rows);
  for (int64_t j = 0; j < rows.rows(); ++j) {
    double wanted = 0;
    for (int64_t i = 0; i < j; ++i) {
      double sum = 0;
      for (int64_t d = 0; d < rows.dimension; ++d) {
        sum += static_cast<double>(rows.row(i)[static_cast<std::size_t>(d)]) *
               static_cast<double>(rows.row(j)[static_cast<std::size_t>(d)]);
      }
      wanted = std::max(wanted, sum);
    }
    CHECK_THAT(static_cast<double>(similarities[static_cast<std::size_t>(j)]),
               WithinAbs(wanted, 1e-5));
  }
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

TEST_CASE("signs: two-sided sketches have the inner product as their mean",
          "[selectors][adapt_inf][property]") {
  constexpr int64_t kOut = 5;
  constexpr int64_t kIn = 4;
  constexpr int64_t kSide = 3;
  Random random(2);
  std::array<std::vector<double>, 2> gradients;
  for (auto& g : gradients) {
    for (int64_t i = 0; i < kOut * kIn; ++i) {
      g.push_back(random.normal());
    }
  }
  double exact = 0;
  for (std::size_t i = 0; i < gradients[0].size(); ++i) {
    exact += gradients[0][i] * gradients[1][i];
  }
  double mean = 0;
  double squares = 0;
  constexpr int kDraws = 4000;
  for (uint64_t draw = 0; draw < kDraws; ++draw) {
    const std::vector<float> left = sign_matrix(kSide, kOut, 2 * draw);
    const std::vector<float> right = sign_matrix(kSide, kIn, 2 * draw + 1);
    double product = 0;
    for (std::size_t r = 0; r < kSide; ++r) {
      for (std::size_t c = 0; c < kSide; ++c) {
        std::array<double, 2> sketch{};
        for (std::size_t g = 0; g < 2; ++g) {
          for (std::size_t o = 0; o < kOut; ++o) {
            for (std::size_t i = 0; i < kIn; ++i) {
              sketch[g] += static_cast<double>(left[r * kOut + o] * right[c * kIn + i]) *
                           gradients[g][o * kIn + i] / kSide;
            }
          }
        }
        product += sketch[0] * sketch[1];
      }
    }
    mean += product / kDraws;
    squares += product * product / kDraws;
  }
  const double standard_error = std::sqrt((squares - mean * mean) / kDraws);
  CHECK_THAT(mean, WithinAbs(exact, 3 * standard_error));
}

}  // namespace
}  // namespace alluvium::selectors
