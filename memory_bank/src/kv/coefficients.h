// Whole numbers that are normally distributed, of a spread both sides know, in as few bits as that takes.
//
// Purpose: the coder under codec.quantiser = "transform": no table is stored, since the spread of each coordinate in steps is known from
//          the basis.
// Source : that transform coefficients coded by the spread of each need no ranges beside them is transform coding (Goyal, IEEE Signal
//          Processing Magazine 18(5), 2001); for keys and values: KVTC (Staniszewski and Lancucki, ICLR 2026).
// Differs: KVTC compresses what came out with DEFLATE; here intervals of the normal distribution go to rANS. A number far out is
//          escaped, so that none is lost; numbers spread wider than kWidest steps have their lowest bits beside.
// Cost   : some two nanoseconds a number read, four at a time: a run of numbers has one table, which then stays near.
// Threads: immutable; the shared tables are made once.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kv/rans_stream.h"

namespace alluvium::memory_bank {

/// Numbers beyond are written as this.
constexpr int64_t kLargestCoefficient = 32767;

/// Numbers of a run are of these lanes in turn, from the first; what stands behind one is of its own lane.
constexpr std::size_t kCoefficientLanes = 4;
using CoefficientReader = RansReader<kCoefficientLanes>;

/// What a whole number is read as: the mean of the distribution between half a step below and above it, or itself.
enum class CoefficientPoint { centre, middle };

/// How numbers of one spread are coded.
class CoefficientTable {
 public:
  /// spread: standard deviation, in steps; positive and finite. Spreads within a twelfth of each other share their intervals.
  explicit CoefficientTable(double spread);

  /// Appends the symbols of a run of numbers, each whole and in [-kLargestCoefficient, kLargestCoefficient].
  void write(std::span<const float> numbers, std::vector<RansSymbol>& out) const;

  /// As many numbers as `out` has room for. Throws DataCorruption at the end of the bytes.
  void read(CoefficientReader& reader, CoefficientPoint point, std::span<float> out) const;

 private:
  /// What a slot stands for, in one load.
  struct Entry {
    uint32_t bits = 0;  // symbol, 8 bits from the lowest; share, 12; offset of the slot in it, 12

    uint32_t symbol() const { return bits & 0xffU; }
    uint32_t share() const { return bits >> 8 & 0xfffU; }
    uint32_t offset() const { return bits >> 20; }
  };
  struct Intervals {
    int64_t most =
        0;  // numbers in [-most, most] have an interval; symbol: number + most, then the escape
    std::array<Entry, kRansTotal> entries{};
    std::vector<RansSymbol> of_symbol;
    std::vector<float> centres;  // by symbol
    std::vector<float> middles;
  };

  static Intervals make_intervals(double spread);
  static const Intervals& shared_intervals(std::size_t index);

  void write_one(int64_t number, uint8_t lane, std::vector<RansSymbol>& out) const;
  /// From number i of a run on, a group of lanes at a time, up to an escape or the last words. Returns how many of the run are read.
  std::size_t read_groups(CoefficientReader& reader, const float* values, std::span<float> out,
                          std::size_t i) const;
  float read_one(CoefficientReader& reader, std::size_t lane, const float* values) const;

  const Intervals* intervals_;
  uint32_t low_bits_ = 0;  // at most kRansPrecision
};

}  // namespace alluvium::memory_bank
