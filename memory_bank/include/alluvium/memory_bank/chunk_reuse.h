// Whether rows of a chunk that were made behind some chunks still serve behind others.
//
// Purpose: of a chunk that was once read in a sequence, how many of its tokens to read anew in another
//          sequence, and which.
// Source : Cache-Craft (Agarwal et al., SIGMOD 2025): cache context impact, prefix overlap, order penalty,
//          cache fix overhead.
// Differs: nothing in the formulas, and so what they leave out holds here too: a chunk that stands before
//          now and did not then raises no overhead. A chunk made behind nothing has no overlap with
//          anything but nothing.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// Where a chunk's tokens looked while they were read. Attention is the sum, over the chunk's tokens, of
/// the weight in a layer, the mean over query heads.
struct ChunkContext {
  struct Predecessor {
    int64_t chunk = 0;              ///< ChunkRow::row
    int64_t tokens = 0;             ///< at least 1
    std::vector<double> attention;  ///< [layers] that the chunk paid to it
  };
  int64_t tokens = 0;               ///< of the chunk, at least 1
  std::vector<Predecessor> before;  ///< the chunks before it, in order
  std::vector<double> within;       ///< [layers] attention that the chunk paid to itself
};

/// CCI, in [0.5, 1): how much of a chunk's rows is owed to the chunks before it, by attention a pair of
/// tokens. 0.5 without any.
double cache_context_impact(const ChunkContext& context);

/// Beta, in [0, 1]: the share of its attention to earlier chunks that went to chunks which are before it
/// `now` too.
double prefix_overlap(const ChunkContext& context, std::span<const int64_t> now);

/// Gamma, in [0, 1]: the share of the pairs of chunks in both orders that stand the other way round
/// (Kendall's tau distance, normalised); 0 with less than two in common. Chunks of an order differ.
double order_penalty(std::span<const int64_t> then, std::span<const int64_t> now);

/// CFO, in [0, 1]: alpha x CCI x (1 - beta (1 - gamma)), the share of the tokens to read anew.
double fix_overhead(const ChunkContext& context, std::span<const int64_t> now, double alpha);

/// overhead x tokens, rounded up.
int64_t tokens_to_fix(double overhead, int64_t tokens);

/// Places of the `count` tokens that paid most attention to other chunks, rising; of equals the first.
std::vector<int64_t> most_outward(std::span<const float> outward, int64_t count);

/// A chunk's rows as they were in a sequence.
struct ChunkVariant {
  std::shared_ptr<const Memory> memory;  ///< with every row
  ChunkContext context;
  std::vector<float> outward;  ///< [tokens] attention to the chunks before, the mean over layers

  std::size_t resident_bytes() const;
};

}  // namespace alluvium::memory_bank
