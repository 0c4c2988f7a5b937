// Bits of one deflate block, as stock zlib would write it, from the counts of its symbols.
//
// Source : RFC 1951 for the format. Which of the equally short codes is chosen changes how the code lengths themselves are written, so
//          ties are broken as zlib 1.2.13 breaks them: by a binary heap ordered by count and depth, filled in symbol order.
// Threads: thread-compatible; a BlockCost is scratch space of one thread.
#pragma once

#include <array>
#include <cstdint>

namespace alluvium::selectors {

constexpr std::size_t kLiteralSymbols = 286;  // 256 bytes, end of block, 29 match lengths
constexpr std::size_t kDistanceSymbols = 30;
constexpr std::size_t kEndOfBlock = 256;

/// How often each symbol occurs in a block; end of block not counted.
struct SymbolCounts {
  std::array<uint16_t, kLiteralSymbols + 2> literals{};  // and a guard
  std::array<uint16_t, kDistanceSymbols + 2> distances{};

  void add_literal(uint8_t byte) { ++literals[byte]; }

  /// length 3 to 258, distance 1 to 32,768.
  void add_match(uint32_t length, uint32_t distance);
};

class BlockCost {
 public:
  /// Bytes of a stream that is this one block, the shortest of stored, fixed and own codes; `stored_bytes` is the text's length.
  int64_t bytes(const SymbolCounts& counts, int64_t stored_bytes);

 private:
  struct Tree {
    int32_t last = 0;                    // highest symbol with a code
    std::array<uint8_t, 289> lengths{};  // bits of each symbol's code
  };

  // Builds the code of `symbols` counts; returns the bits of all of them, without extra bits.
  int64_t build(const uint16_t* counts, int32_t symbols, int32_t longest, Tree& tree);
  void count_lengths(const Tree& tree);

  alignas(64) std::array<uint32_t, 576> heap_{};  // from 1: count, depth, node in one number
  std::array<uint32_t, 576> ordered_{};           // nodes by falling count, as they leave the heap
  std::array<uint16_t, 576> parent_{};
  std::array<uint8_t, 576> depth_of_code_{};
  std::array<uint16_t, 21> length_counts_{};
  Tree literal_tree_;
  Tree distance_tree_;
  Tree length_tree_;
};

}  // namespace alluvium::selectors
