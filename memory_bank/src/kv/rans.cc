#include "kv/rans.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kv/rans_stream.h"

namespace alluvium::memory_bank {
namespace {

constexpr std::size_t kSymbols = 256;
constexpr std::size_t kBlock = 16;
constexpr std::size_t kStates = 2;
constexpr std::size_t kLevels = 16;

/// Level 0 does not occur. Steps of 2 below 128, of the square root of 2 above.
constexpr std::array<uint32_t, kLevels> kWeights = {0,   2,   4,   8,   16,  32,   64,   128,
                                                    181, 256, 362, 512, 724, 1024, 1448, 2048};

using Levels = std::array<uint8_t, kSymbols>;

Levels levels_of(std::span<const uint8_t> symbols) {
  std::array<int64_t, kSymbols> counts{};
  for (const uint8_t symbol : symbols) {
    ++counts[symbol];
  }
  const double unit = static_cast<double>(kWeights.back()) /
                      static_cast<double>(*std::max_element(counts.begin(), counts.end()));
  Levels levels{};
  for (std::size_t s = 0; s < kSymbols; ++s) {
    if (counts[s] == 0) {
      continue;
    }
    // The nearest level by ratio: below the geometric mean of two it is the lower one.
    const double weight = unit * static_cast<double>(counts[s]);
    std::size_t level = kLevels - 1;
    while (level > 1 && weight * weight < kWeights[level] * kWeights[level - 1]) {
      --level;
    }
    levels[s] = static_cast<uint8_t>(level);
  }
  return levels;
}

/// Shares of kRansTotal, none of them 0 for a symbol that occurs.
struct Frequencies {
  std::array<uint32_t, kSymbols> share{};
  std::array<uint32_t, kSymbols> first{};

  explicit Frequencies(const Levels& levels) {
    uint32_t occurring = 0;
    uint32_t weights = 0;
    for (const uint8_t level : levels) {
      occurring += level > 0 ? 1 : 0;
      weights += kWeights[level];
    }
    uint32_t sum = 0;
    for (std::size_t s = 0; s < kSymbols; ++s) {
      if (levels[s] > 0) {
        share[s] = 1 + kWeights[levels[s]] * (kRansTotal - occurring) / weights;
        sum += share[s];
      }
    }
    *std::max_element(share.begin(), share.end()) += kRansTotal - sum;
    for (std::size_t s = 1; s < kSymbols; ++s) {
      first[s] = first[s - 1] + share[s - 1];
    }
  }
};

bool occurs(const Levels& levels, std::size_t block) {
  const auto from = levels.begin() + static_cast<std::ptrdiff_t>(block * kBlock);
  return std::any_of(from, from + kBlock, [](uint8_t level) { return level > 0; });
}

void write_levels(const Levels& levels, std::size_t alphabet, std::vector<std::byte>& out) {
  const std::size_t blocks = (alphabet + kBlock - 1) / kBlock;
  uint16_t mask = 0;
  for (std::size_t b = 0; b < blocks; ++b) {
    mask = static_cast<uint16_t>(mask | (occurs(levels, b) ? 1U << b : 0));
  }
  if (blocks > 1) {
    out.push_back(static_cast<std::byte>(mask & 0xffU));
    out.push_back(static_cast<std::byte>(mask >> 8));
  }
  for (std::size_t s = 0; s < alphabet; s += 2) {
    if ((mask >> (s / kBlock) & 1U) != 0) {
      out.push_back(static_cast<std::byte>(levels[s] | levels[s + 1] << 4));
    }
  }
}

/// Moves `coded` past the table.
Levels read_levels(std::span<const std::byte>& coded, std::size_t alphabet) {
  const auto next = [&] {
    require(!coded.empty(), "coded numbers end within their table");
    const auto byte = static_cast<uint32_t>(coded.front());
    coded = coded.subspan(1);
    return byte;
  };
  uint32_t mask = 1;
  if (alphabet > kBlock) {
    mask = next();
    mask |= next() << 8;
  }
  Levels levels{};
  for (std::size_t s = 0; s < alphabet; s += 2) {
    if ((mask >> (s / kBlock) & 1U) != 0) {
      const uint32_t pair = next();
      levels[s] = static_cast<uint8_t>(pair & 15U);
      levels[s + 1] = static_cast<uint8_t>(pair >> 4);
    }
  }
  require(std::any_of(levels.begin(), levels.end(), [](uint8_t level) { return level > 0; }),
          "coded numbers have an empty table");
  return levels;
}

}  // namespace

std::vector<std::byte> encode_rans(std::span<const uint8_t> symbols, int64_t bits) {
  const Levels levels = levels_of(symbols);
  const Frequencies frequencies(levels);
  std::vector<std::byte> out;
  write_levels(levels, std::size_t{1} << bits, out);

  std::vector<RansSymbol> coded;
  coded.reserve(symbols.size());
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    coded.push_back({static_cast<uint16_t>(frequencies.first[symbols[i]]),
                     static_cast<uint16_t>(frequencies.share[symbols[i]]),
                     static_cast<uint8_t>(i % kStates)});
  }
  write_rans(coded, kStates, out);
  return out;
}

void decode_rans(std::span<const std::byte> coded, int64_t bits, std::span<uint8_t> symbols) {
  const Frequencies frequencies(read_levels(coded, std::size_t{1} << bits));
  std::array<uint8_t, kRansTotal> symbol_of;
  for (std::size_t s = 0; s < kSymbols; ++s) {
    std::fill_n(symbol_of.begin() + frequencies.first[s], frequencies.share[s],
                static_cast<uint8_t>(s));
  }
  RansReader<kStates> reader(coded);
  const auto decode = [&](std::size_t lane) {
    const uint32_t slot = reader.slot(lane);
    const uint8_t symbol = symbol_of[slot];
    reader.take(lane, frequencies.share[symbol], slot - frequencies.first[symbol]);
    return symbol;
  };
  std::size_t i = 0;
  for (; i + 1 < symbols.size(); i += kStates) {
    symbols[i] = decode(0);
    symbols[i + 1] = decode(1);
  }
  if (i < symbols.size()) {
    symbols[i] = decode(0);
  }
  require(reader.ended(), "coded numbers end too late");
}

}  // namespace alluvium::memory_bank
