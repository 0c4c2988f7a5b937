#include "alluvium/core/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "alluvium/core/error.h"
#include "support/catch.h"

namespace alluvium {
namespace {

using Catch::Matchers::WithinAbs;

TEST_CASE("random: the sequence of a seed is fixed", "[core][random][oracle]") {
  // tests/oracle/random/generate.py computes these from the published definitions.
  Random random(42);
  const std::array<uint64_t, 4> expected = {1546998764402558742ULL, 6990951692964543102ULL,
                                            12544586762248559009ULL, 17057574109182124193ULL};
  for (const uint64_t value : expected) {
    CHECK(random.next() == value);
  }
}

TEST_CASE("random: equal seeds agree and different seeds differ", "[core][random]") {
  Random a(5);
  Random b(5);
  Random c(6);
  int differences = 0;
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = a.next();
    REQUIRE(value == b.next());
    differences += value != c.next() ? 1 : 0;
  }
  CHECK(differences == 100);
}

TEST_CASE("random: below stays under its bound and reaches every value",
          "[core][random][property]") {
  const auto bound = GENERATE(uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{10}, uint64_t{257});
  CAPTURE(bound);
  Random random(bound);
  std::map<uint64_t, int> counts;
  const auto draws = static_cast<int>(bound * 200);
  for (int i = 0; i < draws; ++i) {
    const uint64_t value = random.below(bound);
    REQUIRE(value < bound);
    ++counts[value];
  }
  CHECK(counts.size() == bound);
  // 200 expected draws of each value: 100 and 300 lie seven standard deviations away.
  for (const auto& [value, count] : counts) {
    CAPTURE(value);
    CHECK(count > 100);
    CHECK((bound == 1 || count < 300));
  }
}

TEST_CASE("random: a bound of zero is refused", "[core][random]") {
  CHECK_THROWS_AS(Random(0).below(0), InvalidArgument);
}

TEST_CASE("random: below a bound near 2^64 still varies", "[core][random]") {
  Random random(3);
  const uint64_t bound = ~uint64_t{0};
  CHECK(random.below(bound) != random.below(bound));
}

TEST_CASE("random: uniform and normal have their moments", "[core][random][property]") {
  const auto seed = GENERATE(range(0U, 5U));
  CAPTURE(seed);
  Random random(seed);
  constexpr int kDraws = 20'000;
  double uniform_sum = 0;
  double normal_sum = 0;
  double square_sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform();
    REQUIRE(u >= 0.0);
    REQUIRE(u < 1.0);
    const double z = random.normal();
    REQUIRE(std::isfinite(z));
    uniform_sum += u;
    normal_sum += z;
    square_sum += z * z;
  }
  // Standard errors: 0.289 / sqrt(n) = 0.002, 1 / sqrt(n) = 0.007, sqrt(2 / n) = 0.01; bounds at
  // five of them.
  CHECK_THAT(uniform_sum / kDraws, WithinAbs(0.5, 0.0105));
  CHECK_THAT(normal_sum / kDraws, WithinAbs(0.0, 0.036));
  CHECK_THAT(square_sum / kDraws, WithinAbs(1.0, 0.05));
}

TEST_CASE("random: shuffle keeps the items and repeats with its seed", "[core][random][property]") {
  const auto size = GENERATE(0, 1, 2, 50);
  CAPTURE(size);
  std::vector<int> items(size);
  std::iota(items.begin(), items.end(), 0);
  const std::vector<int> sorted = items;
  std::vector<int> again = items;
  Random(9).shuffle(items);
  Random(9).shuffle(again);
  CHECK(items == again);
  CHECK((size < 50 || items != sorted));
  std::sort(items.begin(), items.end());
  CHECK(items == sorted);
}

TEST_CASE("random: shuffle favours no order of three", "[core][random][property]") {
  Random random(11);
  std::map<std::vector<int>, int> counts;
  for (int i = 0; i < 6000; ++i) {
    std::vector<int> items = {1, 2, 3};
    random.shuffle(items);
    ++counts[items];
  }
  REQUIRE(counts.size() == 6);
  // 1,000 expected of each order with deviation 29.
  for (const auto& [order, count] : counts) {
    CHECK(std::abs(count - 1000) < 150);
  }
}

}  // namespace
}  // namespace alluvium
