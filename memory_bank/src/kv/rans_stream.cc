#include "kv/rans_stream.h"

#include <algorithm>

namespace alluvium::memory_bank {

void write_rans(std::span<const RansSymbol> symbols, std::size_t lanes,
                std::vector<std::byte>& out) {
  // What is decoded first is coded last.
  std::vector<uint16_t> words;
  std::vector<uint32_t> states(lanes, kRansLowest);
  for (std::size_t i = symbols.size(); i-- > 0;) {
    const RansSymbol& symbol = symbols[i];
    uint32_t& state = states[symbol.lane];
    if (state >= uint64_t{symbol.share} << (32 - kRansPrecision)) {
      words.push_back(static_cast<uint16_t>(state));
      state >>= 16;
    }
    state = (state / symbol.share << kRansPrecision) + state % symbol.share + symbol.first;
  }
  for (std::size_t lane = lanes; lane-- > 0;) {
    words.push_back(static_cast<uint16_t>(states[lane] >> 16));
    words.push_back(static_cast<uint16_t>(states[lane]));
  }
  std::reverse(words.begin(), words.end());
  const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
  out.insert(out.end(), bytes, bytes + words.size() * sizeof(uint16_t));
}

}  // namespace alluvium::memory_bank
