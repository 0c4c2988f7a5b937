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

using memory_bank::CoefficientPoint;
using memory_bank::CoefficientReader;
using memory_bank::CoefficientTable;
using memory_bank::kCoefficientLanes;
using memory_bank::kLargestCoefficient;
using memory_bank::RansSymbol;
using memory_bank::write_rans;

using Bytes = std::vector<std::byte>;

Bytes coded(const CoefficientTable& table, const std::vector<float>& numbers) {
  std::vector<RansSymbol> symbols;
  table.write(numbers, symbols);
  Bytes bytes;
  write_rans(symbols, kCoefficientLanes, bytes);
  return bytes;
}

std::vector<float> decoded(const CoefficientTable& table, const Bytes& bytes, std::size_t count) {
  CoefficientReader reader(bytes);
  std::vector<float> numbers(count);
  table.read(reader, CoefficientPoint::middle, numbers);
  CHECK(reader.ended());
  return numbers;
}

/// What one number among some near 0 is read as.
float centre(const CoefficientTable& table, float number) {
  CoefficientReader reader(coded(table, {0, number, 0, 0, 0, number}));
  std::vector<float> read(6);
  table.read(reader, CoefficientPoint::centre, read);
  CHECK(read[1] == read[5]);
  return read[1];
}

std::vector<float> normal_numbers(double spread, std::size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> numbers;
  for (std::size_t i = 0; i < count; ++i) {
    numbers.push_back(static_cast<float>(std::llround(spread * random.normal())));
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
  const int64_t count = GENERATE(0, 1, 2, 3, 4, 5, 7, 500);  // lanes that end at different numbers
  CAPTURE(count);
  const auto numbers = normal_numbers(std::min(spread, 6000.0), static_cast<std::size_t>(count), 3);
  CHECK(decoded(table, coded(table, numbers), numbers.size()) == numbers);
  // Escapes in every lane, alone and side by side.
  std::vector<float> wide = numbers;
  for (int64_t magnitude = 1; magnitude <= kLargestCoefficient; magnitude = 2 * magnitude + 1) {
    wide.insert(wide.end(), {static_cast<float>(magnitude), static_cast<float>(-magnitude), 0});
  }
  CHECK(decoded(table, coded(table, wide), wide.size()) == wide);
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
  CHECK(centre(unit, 0) == 0);
  CHECK_THAT(centre(unit, 1), Catch::WithinAbs(0.920641, 1e-5));
  CHECK_THAT(centre(unit, -1), Catch::WithinAbs(-0.920641, 1e-5));
  for (const double spread : {0.1, 0.5, 3.0, 16.0, 100.0}) {
    const CoefficientTable table(spread);
    for (int number = 0; number <= 300; ++number) {
      CAPTURE(spread, number);
      const auto whole = static_cast<float>(number);
      CHECK(std::abs(centre(table, whole) - whole) <= 0.5F);
      CHECK(centre(table, -whole) == -centre(table, whole));
    }
  }
}

TEST_CASE("coefficients: what is cut off or no spread is said", "[memory_bank][kv][transform]") {
  const CoefficientTable table(2.0);
  Bytes bytes = coded(table, normal_numbers(2.0, 200, 9));
  bytes.resize(bytes.size() - 2);
  const auto read_all = [&] {
    CoefficientReader reader(bytes);
    std::vector<float> numbers(200);
    table.read(reader, CoefficientPoint::middle, numbers);
    memory_bank::require(reader.ended(), "coded numbers end too late");
  };
  CHECK_THROWS_AS(read_all(), DataCorruption);
  bytes.resize(15);  // less than the states take
  CHECK_THROWS_AS(read_all(), DataCorruption);
  CHECK_THROWS_AS(CoefficientTable(0), InvalidArgument);
  CHECK_THROWS_AS(CoefficientTable(-1), InvalidArgument);
  CHECK_THROWS_AS(CoefficientTable(std::nan("")), InvalidArgument);
}

}  // namespace alluvium::tests
