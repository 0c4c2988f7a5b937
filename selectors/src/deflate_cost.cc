#include "deflate_cost.h"

#include <algorithm>
#include <bit>

namespace alluvium::selectors {
namespace {

constexpr int32_t kLongestCode = 15;
constexpr int32_t kLengthSymbols = 19;
constexpr int32_t kLongestLengthCode = 7;
constexpr std::array<uint8_t, kLengthSymbols> kLengthOrder = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                              11, 4,  12, 3, 13, 2, 14, 1, 15};

constexpr int32_t length_extra_bits(int32_t code) {
  return code < 8 || code == 28 ? 0 : (code - 4) / 4;
}

constexpr int32_t distance_extra_bits(int32_t code) { return code < 4 ? 0 : (code - 2) / 2; }

// Match length less 3 to its code.
constexpr std::array<uint8_t, 256> make_length_codes() {
  std::array<uint8_t, 256> codes{};
  std::size_t length = 0;
  for (int32_t code = 0; code < 28; ++code) {
    for (int32_t n = 0; n < 1 << length_extra_bits(code) && length < codes.size(); ++n) {
      codes[length++] = static_cast<uint8_t>(code);
    }
  }
  codes[255] = 28;  // 258 has a code of its own
  return codes;
}

constexpr std::array<uint8_t, 256> kLengthCodes = make_length_codes();

// Bits of the fixed code with its extra bits.
constexpr std::array<uint8_t, kLiteralSymbols> make_fixed_bits() {
  std::array<uint8_t, kLiteralSymbols> bits{};
  for (std::size_t s = 0; s < bits.size(); ++s) {
    const int32_t code = s < 144 ? 8 : s < 256 ? 9 : s < 280 ? 7 : 8;
    const int32_t extra = s <= kEndOfBlock ? 0 : length_extra_bits(static_cast<int32_t>(s) - 257);
    bits[s] = static_cast<uint8_t>(code + extra);
  }
  return bits;
}

constexpr std::array<uint8_t, kLiteralSymbols> kFixedBits = make_fixed_bits();
constexpr int32_t kFixedDistanceBits = 5;

// A heap entry: count (14 bits, all symbols of a block together), depth (8) and node (10). Entries order by count, then depth; of equals
// either may come first.
constexpr uint32_t kNodeMask = 0x3ff;
constexpr uint32_t kDepthShift = 10;
constexpr uint32_t kCountShift = 18;

uint32_t entry(uint32_t count, uint32_t depth, uint32_t node) {
  return count << kCountShift | depth << kDepthShift | node;
}

bool not_after(uint32_t a, uint32_t b) { return a <= (b | kNodeMask); }

}  // namespace

void SymbolCounts::add_match(uint32_t length, uint32_t distance) {
  ++literals[257 + kLengthCodes[length - 3]];
  const uint32_t d = distance - 1;
  const auto top = static_cast<uint32_t>(std::bit_width(d));  // the two highest bits make the code
  ++distances[d < 4 ? d : 2 * (top - 1) + (d >> (top - 2) & 1U)];
}

int64_t BlockCost::build(const uint16_t* counts, int32_t symbols, int32_t longest, Tree& tree) {
  std::size_t size = 0;
  int32_t last = -1;
  for (int32_t s = 0; s < symbols; ++s) {
    const bool used = counts[s] != 0;
    heap_[size + 1] = entry(counts[s], 0, static_cast<uint32_t>(s));
    size += used ? 1 : 0;
    last = used ? s : last;
  }
  std::fill_n(tree.lengths.begin(), symbols, uint8_t{0});
  // A code has at least two symbols; those that make up the number count once but cost nothing.
  int64_t bits = 0;
  while (size < 2) {
    const int32_t forced = last < 2 ? ++last : 0;
    heap_[++size] = entry(1, 0, static_cast<uint32_t>(forced));
    --bits;
  }
  tree.last = last;
  heap_[size + 1] = UINT32_MAX;

  const auto sift = [&](std::size_t at) {
    const uint32_t moved = heap_[at];
    std::size_t child = 2 * at;
    while (child <= size) {
      child += not_after(heap_[child + 1], heap_[child]) ? 1 : 0;
      if (not_after(moved, heap_[child])) {
        break;
      }
      heap_[at] = heap_[child];
      at = child;
      child *= 2;
    }
    heap_[at] = moved;
  };
  for (std::size_t at = size / 2; at >= 1; --at) {
    sift(at);
  }
  std::size_t first = ordered_.size();
  auto node = static_cast<uint32_t>(symbols);
  do {
    const uint32_t a = heap_[1];
    heap_[1] = heap_[size];
    heap_[size--] = UINT32_MAX;
    sift(1);
    const uint32_t b = heap_[1];
    ordered_[--first] = a;
    ordered_[--first] = b;
    parent_[a & kNodeMask] = static_cast<uint16_t>(node);
    parent_[b & kNodeMask] = static_cast<uint16_t>(node);
    const uint32_t depth = std::max(a >> kDepthShift & 0xff, b >> kDepthShift & 0xff) + 1;
    heap_[1] = entry((a >> kCountShift) + (b >> kCountShift), depth, node++);
    sift(1);
  } while (size >= 2);

  // Parents come before their children; the root is the last node made.
  depth_of_code_[node - 1] = 0;
  std::array<int32_t, kLongestCode + 1> with_length{};
  int32_t overflow = 0;
  for (std::size_t i = first; i < ordered_.size(); ++i) {
    const std::size_t n = ordered_[i] & kNodeMask;
    int32_t length = depth_of_code_[parent_[n]] + 1;
    if (length > longest) {
      length = longest;
      ++overflow;
    }
    depth_of_code_[n] = static_cast<uint8_t>(length);
    if (n < static_cast<std::size_t>(symbols)) {
      tree.lengths[n] = static_cast<uint8_t>(length);
      ++with_length[static_cast<std::size_t>(length)];
      bits += static_cast<int64_t>(ordered_[i] >> kCountShift) * length;
    }
  }
  if (overflow == 0) {
    return bits;
  }
  // Codes over the limit: shorter ones make room, then lengths are given out anew, the longest to the rarest.
  do {
    auto length = static_cast<std::size_t>(longest - 1);
    while (with_length[length] == 0) {
      --length;
    }
    --with_length[length];
    with_length[length + 1] += 2;
    --with_length[static_cast<std::size_t>(longest)];
    overflow -= 2;
  } while (overflow > 0);
  std::size_t i = ordered_.size();
  for (int32_t length = longest; length > 0; --length) {
    for (int32_t left = with_length[static_cast<std::size_t>(length)]; left > 0;) {
      const uint32_t next = ordered_[--i];
      const std::size_t n = next & kNodeMask;
      if (n < static_cast<std::size_t>(symbols)) {
        bits += static_cast<int64_t>(next >> kCountShift) * (length - tree.lengths[n]);
        tree.lengths[n] = static_cast<uint8_t>(length);
        --left;
      }
    }
  }
  return bits;
}

// Runs of equal code lengths: 16 repeats the last 3 to 6 times, 17 and 18 are 3 to 10 and 11 to 138 zeros.
void BlockCost::count_lengths(const Tree& tree) {
  int32_t before = -1;
  for (int32_t s = 0; s <= tree.last;) {
    const int32_t length = tree.lengths[static_cast<std::size_t>(s)];
    const int32_t most = length == 0 ? 138 : length == before ? 6 : 7;
    const int32_t least = length == 0 || length == before ? 3 : 4;
    int32_t run = 1;
    while (run < most && s + run <= tree.last &&
           tree.lengths[static_cast<std::size_t>(s + run)] == length) {
      ++run;
    }
    if (run < least) {
      length_counts_[static_cast<std::size_t>(length)] += static_cast<uint16_t>(run);
    } else if (length != 0) {
      if (length != before) {
        ++length_counts_[static_cast<std::size_t>(length)];
      }
      ++length_counts_[16];
    } else {
      ++length_counts_[run <= 10 ? 17 : 18];
    }
    before = length;
    s += run;
  }
}

int64_t BlockCost::bytes(const SymbolCounts& counts, int64_t stored_bytes) {
  SymbolCounts all = counts;
  all.literals[kEndOfBlock] = 1;
  int64_t fixed = 0;
  int64_t extra = 0;
  for (std::size_t s = 0; s < kLiteralSymbols; ++s) {
    fixed += int64_t{all.literals[s]} * kFixedBits[s];
  }
  for (int32_t code = 8; code < 28; ++code) {
    extra += int64_t{all.literals[static_cast<std::size_t>(257 + code)]} * length_extra_bits(code);
  }
  int64_t distance_extra = 0;
  for (int32_t code = 0; code < static_cast<int32_t>(kDistanceSymbols); ++code) {
    const int64_t count = all.distances[static_cast<std::size_t>(code)];
    fixed += count * kFixedDistanceBits;
    distance_extra += count * distance_extra_bits(code);
  }
  fixed += distance_extra;

  int64_t own = extra + distance_extra;
  own += build(all.literals.data(), kLiteralSymbols, kLongestCode, literal_tree_);
  own += build(all.distances.data(), kDistanceSymbols, kLongestCode, distance_tree_);
  length_counts_.fill(0);
  count_lengths(literal_tree_);
  count_lengths(distance_tree_);
  own += build(length_counts_.data(), kLengthSymbols, kLongestLengthCode, length_tree_);
  own += 2 * length_counts_[16] + 3 * length_counts_[17] + 7 * length_counts_[18];
  int32_t sent = kLengthSymbols - 1;
  while (sent >= 3 && length_tree_.lengths[kLengthOrder[static_cast<std::size_t>(sent)]] == 0) {
    --sent;
  }
  own += 3 * (sent + 1) + 5 + 5 + 4;

  const int64_t coded = std::min((own + 3 + 7) >> 3, (fixed + 3 + 7) >> 3);
  return stored_bytes + 4 <= coded ? stored_bytes + 5 : coded;
}

}  // namespace alluvium::selectors
