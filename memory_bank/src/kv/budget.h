// How many rows each layer and KV head keeps, and which.
//
// Purpose: scores in, kept rows out, the same on every machine: higher scores first, equal ones in
//          the order of their tokens.
// Source : global: the highest scores over all layers and heads (KVzip, Kim et al., NeurIPS 2025).
//          curves: KVCompose (2025): each head's scores sorted, the curves of a layer averaged, the
//          highest points over all layers; the heads of a layer keep equally many. uniform: as many
//          everywhere. pyramid: PyramidKV (Cai et al., 2024), falling evenly from the first layer to
//          the last, which keeps a twentieth of the mean. d2o: D2O (Wan et al., ICLR 2025): a layer
//          of statistic F keeps the share clamp(L keep softmax(-F), 0.01, 1); heads keep equally many.
// Differs: rows of the keep mask are chosen before any other, never by a made-up score; every layer
//          and head keeps a floor, so that none is blind to a document. d2o: the source's F is the
//          variance over keys of the column sums of attention, min-max normalised over heads and
//          averaged; here it is the variance of whatever the observer scored, averaged over heads and
//          min-max normalised over layers, because scores need not be attention and their size differs
//          between layers. The source never compresses layers 0, 1 and the last; here every layer
//          takes part, and what clamps, floors and masks take or leave is shared out in proportion, so
//          that the whole keeps what was asked for.
// Cost   : O(slots * n log n).
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// The words of codec.budget.
const std::vector<std::string>& budget_names();

struct BudgetOptions {
  std::string budget = "global";
  double keep = 0.5;       ///< share of all rows
  int64_t floor_rows = 8;  ///< of every layer and head, as far as there are rows
  /// [n], 1: kept whatever the score; empty: none
  std::vector<uint8_t> keep_mask;
};

/// scores: float32 [layers, kv_heads, n] on the CPU, finite. Returns the number of rows each slot
/// keeps, layer by layer: at least the floor and the mask, at most n. global: in all
/// round(keep * slots * n) unless floors and masks take more; curves and
/// d2o likewise over layers. Throws NumericError on a score that is
/// not finite.
std::vector<int64_t> share_rows(const at::Tensor& scores, const BudgetOptions& options);

/// D2O's share of its rows for each layer: clamp(L * keep * softmax(-statistics), 0.01, 1).
std::vector<double> d2o_shares(std::span<const double> statistics, double keep);

/// The rows themselves: of each slot those of the mask, then the best scores, up to its count.
KeptRows choose_rows(const at::Tensor& scores, const BudgetOptions& options);

}  // namespace alluvium::memory_bank
