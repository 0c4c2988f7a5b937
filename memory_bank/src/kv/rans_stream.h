// The states of a rANS coder, and the words they give and take.
//
// Source : Duda, arXiv 1311.2540 (2013); several states side by side: Giesen, "Interleaved entropy coders", arXiv 1402.3392 (2014).
// Layout : u16 words: the states, of each the low word first, and what each takes in, in the order of decoding.
// Threads: write_rans() is a pure function; a RansReader belongs to one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "kv/record_check.h"

namespace alluvium::memory_bank {

constexpr uint32_t kRansPrecision = 12;  ///< shares sum to 2^12
constexpr uint32_t kRansTotal = 1U << kRansPrecision;
constexpr uint32_t kRansLowest = 1U
                                 << 16;  ///< a state lies in [kRansLowest, 2^32), and begins at it

/// What stands for a symbol: [first, first + share) of [0, kRansTotal), and the state that codes it.
struct RansSymbol {
  uint16_t first = 0;
  uint16_t share = 0;  ///< at least 1
  uint8_t lane = 0;
};

/// Appends what a RansReader of as many lanes takes the same symbols from. lanes: 1 to 8.
void write_rans(std::span<const RansSymbol> symbols, std::size_t lanes,
                std::vector<std::byte>& out);

template <std::size_t kLanes>
class RansReader {
 public:
  /// Throws DataCorruption when there is no room for the states.
  explicit RansReader(std::span<const std::byte> bytes)
      : next_(bytes.data()), end_(bytes.data() + bytes.size()) {
    for (uint32_t& state : states_) {
      const uint32_t low = word();
      state = low | word() << 16;
    }
  }

  /// Where in [0, kRansTotal) the lane's next symbol lies.
  uint32_t slot(std::size_t lane) const { return states_[lane] % kRansTotal; }

  /// Goes past that symbol, whose share begins `offset` slots before it. Throws DataCorruption at the end of the bytes.
  void take(std::size_t lane, uint32_t share, uint32_t offset) {
    uint32_t& state = states_[lane];
    state = share * (state >> kRansPrecision) + offset;
    if (state < kRansLowest) {
      state = state << 16 | word();
    }
  }

  /// The same where a word is left, without a branch.
  void take_unchecked(std::size_t lane, uint32_t share, uint32_t offset) {
    uint32_t& state = states_[lane];
    state = share * (state >> kRansPrecision) + offset;
    uint16_t word;
    std::memcpy(&word, next_, sizeof(word));
    const bool low = state < kRansLowest;
    state = low ? state << 16 | word : state;
    next_ += low ? sizeof(word) : 0;
  }

  std::size_t words_left() const {
    return static_cast<std::size_t>(end_ - next_) / sizeof(uint16_t);
  }

  /// Whether all bytes were taken and the states are those a writer begins with.
  bool ended() const {
    for (const uint32_t state : states_) {
      if (state != kRansLowest) {
        return false;
      }
    }
    return next_ == end_;
  }

 private:
  uint32_t word() {
    require(words_left() > 0, "coded numbers end too early");
    uint16_t word;
    std::memcpy(&word, next_, sizeof(word));
    next_ += sizeof(word);
    return word;
  }

  const std::byte* next_;
  const std::byte* end_;
  std::array<uint32_t, kLanes> states_{};
};

}  // namespace alluvium::memory_bank
