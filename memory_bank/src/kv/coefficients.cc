#include "kv/coefficients.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

constexpr double kNarrowest = 0.0625;  // spread of the first table
constexpr double kWidest = 16;         // of the last
constexpr double kTablesAnOctave = 4;
constexpr std::size_t kTables = 8 * 4 + 1;  // octaves of [kNarrowest, kWidest]
constexpr double kReach = 5;                // standard deviations that have an interval
constexpr uint32_t kByteShare = kRansTotal >> 8;

/// Of the standard normal distribution, below x.
double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

void write_byte(uint32_t byte, std::vector<RansInterval>& out) {
  out.push_back({byte * kByteShare, kByteShare});
}

uint32_t read_byte(RansReader& reader) {
  const uint32_t byte = reader.slot() / kByteShare;
  reader.take({byte * kByteShare, kByteShare});
  return byte;
}

}  // namespace

CoefficientTable::Intervals CoefficientTable::make_intervals(double spread) {
  Intervals made;
  made.most = std::lround(std::ceil(kReach * spread));
  const std::size_t numbers = static_cast<std::size_t>(2 * made.most + 1);
  std::vector<double> shares;
  for (int64_t number = -made.most; number <= made.most; ++number) {
    const double low = (static_cast<double>(number) - 0.5) / spread;
    const double high = (static_cast<double>(number) + 0.5) / spread;
    // By symmetry on the side where the tail is small, so that no difference of two ones is taken.
    const double share = number > 0 ? normal_below(-low) - normal_below(-high)
                                    : normal_below(high) - normal_below(low);
    shares.push_back(share);
    const double centre = spread * (normal_density(low) - normal_density(high)) / share;
    made.centres.push_back(static_cast<float>(
        std::isfinite(centre) ? std::clamp(centre, static_cast<double>(number) - 0.5,
                                           static_cast<double>(number) + 0.5)
                              : static_cast<double>(number)));
  }
  // Each number and the escape have one slot for sure; the rest goes by likelihood, what rounding leaves to 0.
  const auto free = static_cast<double>(kRansTotal - numbers - 1);
  uint32_t given = 1;
  for (const double share : shares) {
    made.of_symbol.push_back({0, 1 + static_cast<uint32_t>(share * free)});
    given += made.of_symbol.back().share;
  }
  made.of_symbol[static_cast<std::size_t>(made.most)].share += kRansTotal - given;
  made.of_symbol.push_back({0, 1});
  uint32_t first = 0;
  for (std::size_t symbol = 0; symbol < made.of_symbol.size(); ++symbol) {
    RansInterval& interval = made.of_symbol[symbol];
    interval.first = first;
    for (uint32_t offset = 0; offset < interval.share; ++offset) {
      made.entries[first + offset] = {static_cast<uint8_t>(symbol),
                                      static_cast<uint16_t>(interval.share),
                                      static_cast<uint16_t>(offset)};
    }
    first += interval.share;
  }
  return made;
}

const CoefficientTable::Intervals& CoefficientTable::shared_intervals(std::size_t index) {
  static const auto* const kAll = [] {
    auto* all = new std::vector<Intervals>;  // lives as long as the program
    for (std::size_t i = 0; i < kTables; ++i) {
      all->push_back(
          make_intervals(kNarrowest * std::exp2(static_cast<double>(i) / kTablesAnOctave)));
    }
    return all;
  }();
  return (*kAll)[index];
}

CoefficientTable::CoefficientTable(double spread) {
  ALLUVIUM_CHECK(std::isfinite(spread) && spread > 0, "a spread must be positive, got {}", spread);
  while (spread > kWidest && low_bits_ < kRansPrecision) {
    spread /= 2;
    ++low_bits_;
  }
  const double place = kTablesAnOctave * std::log2(spread / kNarrowest);
  intervals_ = &shared_intervals(
      static_cast<std::size_t>(std::clamp<int64_t>(std::llround(place), 0, kTables - 1)));
}

void CoefficientTable::write(int64_t number, std::vector<RansInterval>& out) const {
  const int64_t high = number >> low_bits_;
  if (std::abs(high) > intervals_->most) {
    out.push_back(intervals_->of_symbol.back());
    const auto escaped = static_cast<uint32_t>(number + kLargestCoefficient);
    write_byte(escaped & 0xffU, out);
    write_byte(escaped >> 8, out);
    return;
  }
  out.push_back(intervals_->of_symbol[static_cast<std::size_t>(high + intervals_->most)]);
  if (low_bits_ > 0) {
    out.push_back(low_interval(static_cast<uint32_t>(number - (high << low_bits_))));
  }
}

int64_t CoefficientTable::read_escaped(RansReader& reader) const {
  const uint32_t low = read_byte(reader);
  return static_cast<int64_t>(low | read_byte(reader) << 8) - kLargestCoefficient;
}

int64_t CoefficientTable::read_low(RansReader& reader) const {
  const uint32_t low = reader.slot() >> (kRansPrecision - low_bits_);
  reader.take(low_interval(low));
  return low;
}

}  // namespace alluvium::memory_bank
