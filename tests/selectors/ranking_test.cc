#include "alluvium/selectors/ranking.h"

#include <algorithm>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using selectors::Candidate;
using selectors::QuantileGate;
using selectors::ranks_before;
using selectors::TopRanking;

std::vector<Candidate> random_rows(uint64_t seed, int64_t count) {
  Random random(seed);
  std::vector<Candidate> rows;
  for (int64_t i = 0; i < count; ++i) {
    rows.push_back({static_cast<double>(random.below(20)), i,
                    1 + static_cast<int64_t>(random.below(30)), std::to_string(i)});
  }
  return rows;
}

std::vector<int64_t> arrivals(const std::vector<Candidate>& rows) {
  std::vector<int64_t> list;
  for (const Candidate& row : rows) {
    list.push_back(row.arrival);
  }
  return list;
}

}  // namespace

TEST_CASE("top ranking: the best K of a full sort, ties to the earlier",
          "[selectors][ranking][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  const int64_t count = GENERATE(0, 1, 7, 200);
  CAPTURE(seed, count);
  std::vector<Candidate> rows = random_rows(seed, count);
  TopRanking top(7, 0);
  for (const Candidate& row : rows) {
    if (top.admits(row.score)) {
      top.add(row);
    }
    CHECK(top.size() <= 7);
  }
  std::sort(rows.begin(), rows.end(), ranks_before);
  rows.resize(std::min<std::size_t>(rows.size(), 7));
  CHECK(arrivals(top.take()) == arrivals(rows));
  CHECK(top.size() == 0);
}

TEST_CASE("top ranking: a budget takes the longest run from the top that fits",
          "[selectors][ranking][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  const int64_t budget = GENERATE(1, 25, 400, 100'000);
  CAPTURE(seed, budget);
  std::vector<Candidate> rows = random_rows(seed, 150);
  TopRanking top(0, budget);
  for (const Candidate& row : rows) {
    if (top.admits(row.score)) {
      top.add(row);
    }
  }
  std::sort(rows.begin(), rows.end(), ranks_before);
  std::vector<int64_t> wanted;
  int64_t left = budget;
  for (const Candidate& row : rows) {
    left -= row.tokens;
    if (left < 0) {
      break;
    }
    wanted.push_back(row.arrival);
  }
  CHECK(arrivals(top.take()) == wanted);
}

TEST_CASE("top ranking: exactly one limit", "[selectors][ranking]") {
  CHECK_THROWS_AS(TopRanking(0, 0), InvalidArgument);
  CHECK_THROWS_AS(TopRanking(3, 3), InvalidArgument);
  CHECK_THROWS_AS(TopRanking(-1, 0), InvalidArgument);
}

TEST_CASE("quantile gate: keeps what a sort of the last scores would keep, also after a restart",
          "[selectors][ranking][property]") {
  const auto seed = GENERATE(range(0U, 10U));
  const double quantile = GENERATE(0.0, 0.5, 0.8, 0.99);
  const int64_t window = GENERATE(1, 10, 64);
  CAPTURE(seed, quantile, window);
  Random random(seed);
  QuantileGate gate(quantile, window);
  std::vector<double> all;
  for (int i = 0; i < 200; ++i) {
    all.push_back(static_cast<double>(random.below(40)));
    const std::vector<double> last(all.end() - std::min<std::ptrdiff_t>(window, std::ssize(all)),
                                   all.end());
    const auto below =
        std::count_if(last.begin(), last.end(), [&](double s) { return s < all.back(); });
    const bool wanted = static_cast<double>(below) >= quantile * static_cast<double>(last.size());
    CHECK(gate.accept(all.back()) == wanted);
    if (i == 120) {
      QuantileGate other(quantile, window);
      other.restore(gate.scores());
      CHECK(other.scores() == last);
      gate = other;
    }
  }
}

// The window of the published setting, 0.8 over the last 10,000, against a sorted copy of it.
TEST_CASE(
    "quantile gate: of 10,000 scores every verdict and threshold is that of the sorted window",
    "[selectors][ranking][property]") {
  constexpr std::size_t kWindow = 10'000;
  const bool with_ties = GENERATE(false, true);
  CAPTURE(with_ties);
  Random random(6);
  QuantileGate gate(0.8, kWindow);
  std::vector<double> all;
  std::vector<double> sorted;
  for (int i = 0; i < 25'000; ++i) {
    // A score that drifts, as where the stream changes its subject.
    const double score =
        with_ties ? static_cast<double>(random.below(300) + i / 100) : random.normal() + i * 1e-4;
    all.push_back(score);
    sorted.insert(std::upper_bound(sorted.begin(), sorted.end(), score), score);
    if (sorted.size() > kWindow) {
      sorted.erase(std::lower_bound(sorted.begin(), sorted.end(), all[all.size() - 1 - kWindow]));
    }
    const auto below = [&](double value) {
      return static_cast<double>(std::lower_bound(sorted.begin(), sorted.end(), value) -
                                 sorted.begin());
    };
    const double wanted = 0.8 * static_cast<double>(sorted.size());
    REQUIRE(gate.accept(score) == (below(score) >= wanted));
    if (i % 250 == 0) {
      const auto lowest = std::find_if(sorted.begin(), sorted.end(),
                                       [&](double value) { return below(value) >= wanted; });
      REQUIRE(gate.threshold() == (lowest == sorted.end() ? sorted.back() : *lowest));
    }
  }
  CHECK(gate.scores() == std::vector<double>(all.end() - kWindow, all.end()));
}

TEST_CASE("quantile gate: keeps its share of a long stream", "[selectors][ranking][stream]") {
  Random random(2);
  QuantileGate gate(0.8, 1000);
  int64_t kept = 0;
  for (int i = 0; i < 20'000; ++i) {
    kept += gate.accept(random.normal() + i * 1e-4) ? 1 : 0;
  }
  CHECK(kept > 3'600);
  CHECK(kept < 4'600);
  CHECK_THROWS_WITH(QuantileGate(1, 10), Catch::Contains("quantile must be in [0, 1), got 1"));
  CHECK_THROWS_WITH(QuantileGate(0.5, 0), Catch::Contains("window must be at least 1, got 0"));
}

}  // namespace alluvium::tests
