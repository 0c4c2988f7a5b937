// The states of a rANS coder, and the words they give and take.
//
// Source : Duda, arXiv 1311.2540 (2013); two states in turn: Giesen, "Interleaved entropy coders", arXiv 1402.3392 (2014).
// Layout : u16 words: the two states, the low word first, and what each takes in, in the order of decoding. Symbols are of the first
//          state and of the second in turn.
// Threads: write_rans() is a pure function; a RansReader belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "kv/record_check.h"

namespace alluvium::memory_bank {

constexpr uint32_t kRansPrecision = 12;  ///< shares sum to 2^12
constexpr uint32_t kRansTotal = 1U << kRansPrecision;

/// What stands for a symbol: [first, first + share) of [0, kRansTotal).
struct RansInterval {
  uint32_t first = 0;
  uint32_t share = 0;  ///< at least 1
};

/// Appends what a RansReader takes the same intervals from.
void write_rans(std::span<const RansInterval> intervals, std::vector<std::byte>& out);

class RansReader {
 public:
  /// Throws DataCorruption when there is no room for the states.
  explicit RansReader(std::span<const std::byte> bytes)
      : bytes_(bytes), state_(start()), next_state_(start()) {}

  /// Where in [0, kRansTotal) the next symbol's interval lies.
  uint32_t slot() const { return state_ % kRansTotal; }

  /// Goes past the next symbol, whose interval holds slot(). Throws DataCorruption at the end of the bytes.
  void take(RansInterval interval) {
    state_ = interval.share * (state_ >> kRansPrecision) + slot() - interval.first;
    if (state_ < kLowest) {
      state_ = state_ << 16 | word();
    }
    std::swap(state_, next_state_);
  }

  /// Whether all bytes were taken and the states are those a writer begins with.
  bool ended() const { return state_ == kLowest && next_state_ == kLowest && at_ == bytes_.size(); }

 private:
  static constexpr uint32_t kLowest = 1U << 16;  // a state lies in [kLowest, 2^32)

  uint32_t word() {
    require(bytes_.size() - at_ >= sizeof(uint16_t), "coded numbers end too early");
    uint16_t word;
    std::memcpy(&word, bytes_.data() + at_, sizeof(word));
    at_ += sizeof(word);
    return word;
  }

  uint32_t start() {
    const uint32_t low = word();
    return low | word() << 16;
  }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  uint32_t state_;
  uint32_t next_state_;
};

}  // namespace alluvium::memory_bank
