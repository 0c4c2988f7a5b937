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

/// Of the standard normal distribution, below x.
double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }

/// `bits` bits, all equally likely.
RansSymbol plain_symbol(uint32_t value, uint32_t bits, uint8_t lane) {
  const uint32_t share = kRansTotal >> bits;
  return {static_cast<uint16_t>(value * share), static_cast<uint16_t>(share), lane};
}

uint32_t read_plain(CoefficientReader& reader, uint32_t bits, std::size_t lane) {
  const uint32_t share = kRansTotal >> bits;
  const uint32_t slot = reader.slot(lane);
  reader.take(lane, share, slot % share);
  return slot / share;
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
    const auto middle = static_cast<double>(number);
    made.middles.push_back(static_cast<float>(middle));
    made.centres.push_back(static_cast<float>(
        std::isfinite(centre) ? std::clamp(centre, middle - 0.5, middle + 0.5) : middle));
  }
  // Each number and the escape have one slot for sure; the rest goes by likelihood, what rounding leaves to 0.
  const auto free = static_cast<double>(kRansTotal - numbers - 1);
  uint32_t given = 1;
  for (const double share : shares) {
    made.of_symbol.push_back(
        {0, static_cast<uint16_t>(1 + static_cast<uint32_t>(share * free)), 0});
    given += made.of_symbol.back().share;
  }
  RansSymbol& zero = made.of_symbol[static_cast<std::size_t>(made.most)];
  zero.share = static_cast<uint16_t>(zero.share + kRansTotal - given);
  made.of_symbol.push_back({0, 1, 0});
  uint32_t first = 0;
  for (std::size_t symbol = 0; symbol < made.of_symbol.size(); ++symbol) {
    RansSymbol& interval = made.of_symbol[symbol];
    interval.first = static_cast<uint16_t>(first);
    for (uint32_t offset = 0; offset < interval.share; ++offset) {
      made.entries[first + offset].bits =
          static_cast<uint32_t>(symbol) | static_cast<uint32_t>(interval.share) << 8 | offset << 20;
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

void CoefficientTable::write(std::span<const float> numbers, std::vector<RansSymbol>& out) const {
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    write_one(static_cast<int64_t>(numbers[i]), static_cast<uint8_t>(i % kCoefficientLanes), out);
  }
}

void CoefficientTable::write_one(int64_t number, uint8_t lane, std::vector<RansSymbol>& out) const {
  const int64_t high = number >> low_bits_;
  const bool escapes = std::abs(high) > intervals_->most;
  out.push_back(escapes ? intervals_->of_symbol.back()
                        : intervals_->of_symbol[static_cast<std::size_t>(high + intervals_->most)]);
  out.back().lane = lane;
  if (escapes) {
    const auto whole = static_cast<uint32_t>(number + kLargestCoefficient);
    out.push_back(plain_symbol(whole & 0xffU, 8, lane));
    out.push_back(plain_symbol(whole >> 8, 8, lane));
  } else if (low_bits_ > 0) {
    out.push_back(
        plain_symbol(static_cast<uint32_t>(number - (high << low_bits_)), low_bits_, lane));
  }
}

void CoefficientTable::read(CoefficientReader& reader, CoefficientPoint point,
                            std::span<float> out) const {
  const float* values =
      (point == CoefficientPoint::centre ? intervals_->centres : intervals_->middles).data();
  for (std::size_t i = low_bits_ == 0 ? read_groups(reader, values, out, 0) : 0; i < out.size();) {
    const std::size_t end = std::min(i + kCoefficientLanes, out.size());
    for (; i < end; ++i) {
      out[i] = read_one(reader, i % kCoefficientLanes, values);
    }
    i = low_bits_ == 0 ? read_groups(reader, values, out, i) : i;
  }
}

std::size_t CoefficientTable::read_groups(CoefficientReader& reader, const float* values,
                                          std::span<float> out, std::size_t i) const {
  const auto escape = static_cast<uint32_t>(intervals_->centres.size());
  const Entry* entries = intervals_->entries.data();
  CoefficientReader local = reader;  // whose states may stay in registers
  // A symbol takes one word at most.
  for (; i + kCoefficientLanes <= out.size() && local.words_left() >= kCoefficientLanes;
       i += kCoefficientLanes) {
    const std::array<Entry, kCoefficientLanes> group = {
        entries[local.slot(0)], entries[local.slot(1)], entries[local.slot(2)],
        entries[local.slot(3)]};
    if (group[0].symbol() == escape || group[1].symbol() == escape || group[2].symbol() == escape ||
        group[3].symbol() == escape) {
      break;
    }
    for (std::size_t lane = 0; lane < kCoefficientLanes; ++lane) {
      local.take_unchecked(lane, group[lane].share(), group[lane].offset());
      out[i + lane] = values[group[lane].symbol()];
    }
  }
  reader = local;
  return i;
}

float CoefficientTable::read_one(CoefficientReader& reader, std::size_t lane,
                                 const float* values) const {
  const Entry entry = intervals_->entries[reader.slot(lane)];
  reader.take(lane, entry.share(), entry.offset());
  if (entry.symbol() == intervals_->centres.size()) {
    const uint32_t low = read_plain(reader, 8, lane);
    return static_cast<float>(static_cast<int64_t>(low | read_plain(reader, 8, lane) << 8) -
                              kLargestCoefficient);
  }
  if (low_bits_ == 0) {
    return values[entry.symbol()];
  }
  const int64_t high = static_cast<int64_t>(entry.symbol()) - intervals_->most;
  return static_cast<float>((high << low_bits_) + read_plain(reader, low_bits_, lane));
}

}  // namespace alluvium::memory_bank
