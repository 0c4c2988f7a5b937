// Whole numbers coded by how far they spread.
#include <algorithm>
#include <cmath>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "kv/coefficients.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using memory_bank::CoefficientTable;
using memory_bank::kLargestCoefficient;
using memory_bank::RansInterval;
using memory_bank::RansReader;
using memory_bank::write_rans;

using Bytes = std::vector<std::byte>;

Bytes coded(const CoefficientTable& table, const std::vector<int64_t>& numbers) {
  std::vector<RansInterval> intervals;
  for (const int64_t number : numbers) {
    table.write(number, intervals);
  }
  Bytes bytes;
  write_rans(intervals, bytes);
  return bytes;
}

std::vector<int64_t> decoded(const CoefficientTable& table, const Bytes& bytes, std::size_t count) {
  RansReader reader(bytes);
  std::vector<int64_t> numbers;
  for (std::size_t i = 0; i < count; ++i) {
    numbers.push_back(table.read(reader));
  }
  CHECK(reader.ended());
  return numbers;
}

std::vector<int64_t> normal_numbers(double spread, std::size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<int64_t> numbers;
  for (std::size_t i = 0; i < count; ++i) {
    numbers.push_back(std::llround(spread * random.normal()));
  }
  return numbers;
}

/// Bits of a number that is normally distributed and rounded, by summing over all numbers.
double entropy(double spread) {
  double bits = 0;
  for (int64_t number = -std::llround(10 * spread) - 2; number <= std::llround(10 * spread) + 2;
       ++number) {
    const double share =
        0.5 * (std::erfc((static_cast<double>(number) - 0.5) / spread / std::sqrt(2)) -
               std::erfc((static_cast<double>(number) + 0.5) / spread / std::sqrt(2)));
    bits -= share > 0 ? share * std::log2(share) : 0;
  }
  return bits;
}

}  // namespace

TEST_CASE("coefficients: any numbers come back, however unlikely",
          "[memory_bank][kv][transform][property]") {
  const double spread = GENERATE(1e-6, 0.1, 0.3, 1.0, 7.9, 16.0, 16.1, 40.0, 1000.0, 1e6);
  CAPTURE(spread);
  const CoefficientTable table(spread);
  std::vector<int64_t> numbers = normal_numbers(std::min(spread, 6000.0), 500, 3);
  for (int64_t magnitude = 1; magnitude <= kLargestCoefficient; magnitude = 2 * magnitude + 1) {
    numbers.insert(numbers.end(), {magnitude, -magnitude, 0});
  }
  CHECK(decoded(table, coded(table, numbers), numbers.size()) == numbers);
}

TEST_CASE("coefficients: normal numbers take their entropy and little more",
          "[memory_bank][kv][transform]") {
  const double spread = GENERATE(0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0, 200.0);
  CAPTURE(spread);
  constexpr std::size_t kCount = 40000;
  const CoefficientTable table(spread);
  const double bits =
      8.0 * static_cast<double>(coded(table, normal_numbers(spread, kCount, 5)).size()) / kCount;
  // A table serves spreads a twelfth to either side, shares have 12 bits, and the escape takes a slot.
  CHECK(bits < entropy(spread) + 0.03);
  CHECK(bits > entropy(spread) - 0.03);
}

TEST_CASE("coefficients: a number is read as the mean of what it stands for",
          "[memory_bank][kv][transform]") {
  // One standard deviation a step: E[x | -1/2 < x < 1/2] = 0, E[x | 1/2 < x < 3/2] = 0.920641.
  const CoefficientTable unit(1.0);
  CHECK(unit.centre(0) == 0);
  CHECK_THAT(unit.centre(1), Catch::WithinAbs(0.920641, 1e-5));
  CHECK_THAT(unit.centre(-1), Catch::WithinAbs(-0.920641, 1e-5));
  for (const double spread : {0.1, 0.5, 3.0, 16.0, 100.0}) {
    const CoefficientTable table(spread);
    for (int64_t number = -300; number <= 300; ++number) {
      CAPTURE(spread, number);
      CHECK(std::abs(table.centre(number) - static_cast<float>(number)) <= 0.5F);
      CHECK(table.centre(number) == -table.centre(-number));
    }
  }
}

TEST_CASE("coefficients: what is cut off or no spread is said", "[memory_bank][kv][transform]") {
  const CoefficientTable table(2.0);
  Bytes bytes = coded(table, normal_numbers(2.0, 200, 9));
  bytes.resize(bytes.size() - 2);
  RansReader reader(bytes);
  const auto read_all = [&] {
    for (int i = 0; i < 200; ++i) {
      table.read(reader);
    }
    memory_bank::require(reader.ended(), "coded numbers end too late");
  };
  CHECK_THROWS_AS(read_all(), DataCorruption);
  CHECK_THROWS_AS(RansReader(Bytes(7)), DataCorruption);
  CHECK_THROWS_AS(CoefficientTable(0), InvalidArgument);
  CHECK_THROWS_AS(CoefficientTable(-1), InvalidArgument);
  CHECK_THROWS_AS(CoefficientTable(std::nan("")), InvalidArgument);
}

}  // namespace alluvium::tests
