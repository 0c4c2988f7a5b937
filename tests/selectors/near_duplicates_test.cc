#include "alluvium/selectors/near_duplicates.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "alluvium/core/random.h"
#include "alluvium/selectors/water_filling.h"
#include "nearest_earlier.h"
#include "rows.h"
#include "support/catch.h"

namespace alluvium::selectors {
namespace {

using Catch::Matchers::WithinAbs;
using Numbers = std::vector<int64_t>;

RowMatrix unit_rows(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<std::vector<float>> topics(12, std::vector<float>(48));
  for (std::vector<float>& topic : topics) {
    for (float& value : topic) {
      value = static_cast<float>(random.normal());
    }
  }
  RowMatrix rows;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<float> row(48);
    const uint64_t kind = i < 20 ? 9 : random.below(10);
    if (kind < 2) {  // a copy of an earlier row: nearly, or in every bit
      const std::span<const float> earlier = rows.row(static_cast<int64_t>(random.below(i)));
      for (std::size_t d = 0; d < row.size(); ++d) {
        const double noise = kind == 0 ? 0.02 * random.normal() : 0;
        row[d] = earlier[d] + static_cast<float>(noise);
      }
    } else {
      for (const std::vector<float>& topic : topics) {
        const auto weight = static_cast<float>(random.normal());
        for (std::size_t d = 0; d < row.size(); ++d) {
          row[d] += weight * topic[d];
        }
      }
      for (float& value : row) {
        value += static_cast<float>(random.normal());
      }
    }
    if (kind != 1) {
      normalise_(row);
    }
    rows.append(row);
  }
  return rows;
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

TEST_CASE("pruning: by budgets alone a flood of copies keeps a cluster's share, by likeness one",
          "[selectors][adapt_inf]") {
  const Numbers budgets = water_fill(Numbers{100, 100, 1000}, 150);
  RowMatrix flood;
  for (int i = 0; i < 1000; ++i) {
    flood.append(std::vector<float>{0.6F, 0.8F, 0});
  }
  const std::vector<float> similarities = similarity_to_earlier(flood);
  CHECK(budgets[2] == 50);
  // No cosine passes 2: the reference's rule.
  const Kept share = keep_least_similar(similarities, 2, budgets[2]);
  CHECK(share.rows.size() == 50);
  CHECK(share.over_budget.size() == 950);
  const Kept one = keep_least_similar(similarities, 0.98F, budgets[2]);
  CHECK(one.rows == Numbers{0});
  CHECK(one.duplicates.size() == 999);
}

TEST_CASE("pruning: blocks give what the whole matrix gives", "[selectors][adapt_inf][property]") {
  const RowMatrix rows = unit_rows(210, 4);
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

// Of 2,000 rows a fifth are copies; the graph is asked although all pairs would do.
TEST_CASE("pruning: a graph keeps what comparing all pairs keeps",
          "[selectors][adapt_inf][property]") {
  const auto seed = GENERATE(range(0U, 2U));
  CAPTURE(seed);
  const RowMatrix rows = unit_rows(2'000, seed);
  const std::vector<float> exact = similarity_to_earlier(rows);
  const std::vector<float> found = similarity_to_earlier(rows, 100);
  const std::vector<int64_t> nearest = nearest_earlier(rows);  // made again, and the same
  CHECK(nearest.front() == -1);

  int64_t same_neighbour = 0;
  for (int64_t j = 1; j < rows.rows(); ++j) {
    const auto at = static_cast<std::size_t>(j);
    REQUIRE(nearest[at] >= 0);
    REQUIRE(nearest[at] < j);
    // Whoever was found, M is its cosine: never above the true one, and the true one where the neighbour is the nearest.
    const float cosine = dot(rows.row(nearest[at]), rows.row(j));
    REQUIRE(found[at] == std::max(0.0F, cosine));
    REQUIRE(found[at] <= exact[at]);
    same_neighbour += static_cast<double>(exact[at] - found[at]) < 1e-5 ? 1 : 0;
  }
  CHECK(same_neighbour >= rows.rows() * 99 / 100);

  for (const int64_t budget : {int64_t{2'000}, int64_t{800}, int64_t{200}}) {
    CAPTURE(budget);
    const Kept wanted = keep_least_similar(exact, 0.98F, budget);
    const Kept kept = keep_least_similar(found, 0.98F, budget);
    const std::set<int64_t> set(wanted.rows.begin(), wanted.rows.end());
    const auto common = std::count_if(kept.rows.begin(), kept.rows.end(),
                                      [&](int64_t j) { return set.count(j) > 0; });
    const int64_t differing = std::ssize(wanted.rows) + std::ssize(kept.rows) - 2 * common;
    CHECK(differing * 100 <= rows.rows());
  }
}

TEST_CASE("pruning: a flood of copies does not hide other rows from the graph",
          "[selectors][adapt_inf]") {
  const RowMatrix some = unit_rows(200, 9);
  RowMatrix rows;
  for (int64_t i = 0; i < 1'400; ++i) {
    rows.append(some.row(i < 200 || i >= 1'200 ? i % 200 : 7));
  }
  const std::vector<float> found = similarity_to_earlier(rows, 100);
  const std::vector<float> exact = similarity_to_earlier(rows);
  CHECK(found == exact);
}

TEST_CASE("pruning: a graph of few rows", "[selectors][adapt_inf]") {
  CHECK(similarity_to_earlier({}, 0).empty());
  CHECK(similarity_to_earlier(rows_of({{1, 0}}), 0) == std::vector<float>{0});
  CHECK(similarity_to_earlier(rows_of({{1, 0}, {-1, 0}, {0, 1}}), 0) ==
        std::vector<float>{0, 0, 0});
}

}  // namespace
}  // namespace alluvium::selectors
