#include "kv/rans_stream.h"

#include <algorithm>
#include <array>

namespace alluvium::memory_bank {

void write_rans(std::span<const RansInterval> intervals, std::vector<std::byte>& out) {
  constexpr uint32_t kLowest = 1U << 16;
  constexpr std::size_t kStates = 2;
  // What is decoded first is coded last.
  std::vector<uint16_t> words;
  std::array<uint32_t, kStates> states = {kLowest, kLowest};
  for (std::size_t i = intervals.size(); i-- > 0;) {
    uint32_t& state = states[i % kStates];
    const RansInterval& symbol = intervals[i];
    if (state >= uint64_t{symbol.share} << (32 - kRansPrecision)) {
      words.push_back(static_cast<uint16_t>(state));
      state >>= 16;
    }
    state = (state / symbol.share << kRansPrecision) + state % symbol.share + symbol.first;
  }
  for (std::size_t i = kStates; i-- > 0;) {
    words.push_back(static_cast<uint16_t>(states[i] >> 16));
    words.push_back(static_cast<uint16_t>(states[i]));
  }
  std::reverse(words.begin(), words.end());
  const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
  out.insert(out.end(), bytes, bytes + words.size() * sizeof(uint16_t));
}

}  // namespace alluvium::memory_bank
