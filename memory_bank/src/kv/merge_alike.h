// Evicted rows that join the kept row most like them, wherever it stands: key and value.
//
// Purpose: the words d2o and ems of codec.merge.
// Source : d2o: D2O (Wan et al., ICLR 2025): an evicted row joins the kept one of the highest cosine u of
//          their keys when u is at least the mean of all evicted rows' u; weights exp(u), and e for the
//          kept row. ems: EMS (Li et al., 2024): the rows kept by their scores are the centres of
//          classes, the others join the most similar one with weights from attention, a merged key gets
//          its length back, and rows like no centre (the zero class) are lost.
// Differs: both merge rotated keys where they stand; so does this, in the chunk's own frame, and then
//          turns each merged key back by its kept row's place, so that a memory stays free to move. d2o:
//          the mean over heads of u decides in the source, but here heads keep rows of their own, so
//          each decides by itself; its code adds keys shrunk by u, which shortens the mean: here weights
//          add up to 1. A document is read once, so the threshold is never a running mean. ems: weights
//          are the observer's scores, and a length is that of the centre; the least cosine to a centre
//          is our choice. Neither counts what it merged in attention (compensation.h does).
// Cost   : O(evicted * kept * d) a layer and head.
// Threads: pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/rope.h"
#include "alluvium/memory_bank/memory.h"
#include "kv/merge.h"

namespace alluvium::memory_bank {

/// keys, values: [layers, kv_heads, n, head_dim] pre-RoPE, any float dtype, on the CPU. Returns float32;
/// a kept row that none joins keeps its numbers.
MergedRows merge_d2o(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                     const backbone::Rope& rope);

/// scores: float32 [layers, kv_heads, n], those the rows were chosen by; negative ones weigh nothing.
MergedRows merge_ems(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                     const at::Tensor& scores, const backbone::Rope& rope);

}  // namespace alluvium::memory_bank
