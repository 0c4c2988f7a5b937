// Whole numbers that are normally distributed, of a spread both sides know, in as few bits as that takes.
//
// Purpose: the coder under codec.quantiser = "transform": no table is stored, since the spread of each coordinate in steps is known from
//          the basis.
// Source : that transform coefficients coded by the spread of each need no ranges beside them is transform coding (Goyal, IEEE Signal
//          Processing Magazine 18(5), 2001); for keys and values: KVTC (2025).
// Differs: KVTC compresses what came out with DEFLATE; here intervals of the normal distribution go to rANS. A number far out is
//          escaped, so that none is lost; numbers spread wider than kWidest steps have their lowest bits beside.
// Threads: immutable; the shared tables are made once.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kv/rans_stream.h"

namespace alluvium::memory_bank {

/// Numbers beyond are written as this.
constexpr int64_t kLargestCoefficient = 32767;

/// How numbers of one spread are coded.
class CoefficientTable {
 public:
  /// spread: standard deviation, in steps; positive and finite. Spreads within a twelfth of each other share their intervals.
  explicit CoefficientTable(double spread);

  /// Appends the intervals of `number`, in [-kLargestCoefficient, kLargestCoefficient].
  void write(int64_t number, std::vector<RansInterval>& out) const;

  /// Throws DataCorruption at the end of the bytes.
  int64_t read(RansReader& reader) const {
    const Entry entry = intervals_->entries[reader.slot()];
    reader.take({reader.slot() - entry.offset, entry.share});
    const int64_t number = int64_t{entry.symbol} - intervals_->most;
    if (number > intervals_->most) {
      return read_escaped(reader);
    }
    return low_bits_ == 0 ? number : (number << low_bits_) + read_low(reader);
  }

  /// The mean of the distribution between number - 1/2 and number + 1/2.
  float centre(int64_t number) const {
    return low_bits_ > 0 || number < -intervals_->most || number > intervals_->most
               ? static_cast<float>(number)
               : intervals_->centres[static_cast<std::size_t>(number + intervals_->most)];
  }

 private:
  /// Of one slot.
  struct Entry {
    uint8_t symbol;  // number + most; 2 * most + 1: escaped
    uint16_t share;
    uint16_t offset;  // in the interval
  };
  struct Intervals {
    int64_t most = 0;  // numbers in [-most, most] have an interval
    std::array<Entry, kRansTotal> entries;
    std::vector<RansInterval> of_symbol;
    std::vector<float> centres;
  };

  static Intervals make_intervals(double spread);
  static const Intervals& shared_intervals(std::size_t index);

  RansInterval low_interval(uint32_t low) const {
    const uint32_t share = kRansTotal >> low_bits_;
    return {low * share, share};
  }
  int64_t read_escaped(RansReader& reader) const;
  int64_t read_low(RansReader& reader) const;

  const Intervals* intervals_;
  uint32_t low_bits_ = 0;  // at most kRansPrecision
};

}  // namespace alluvium::memory_bank
