// Selectors that ask a model: Adapt-inf, LESS, D4.
//
// Threads: as Selector.
#pragma once

#include <memory>

#include "alluvium/selectors/selector.h"

namespace alluvium::selectors {

/// One round of Adapt-inf over the whole pool: the rows it picks score 1, the others 0; copies are retired. Needs SelectorOptions::picks and
/// gradients, and two passes over the pool, whose samples it keeps. adapt_inf.h has the rounds of a stream.
std::unique_ptr<Selector> make_adapt_inf(const SelectorOptions& options);

/// Highest mean cosine of a row's gradient to the targets' gradients.
/// Source : Xia, Malladi, Gururangan, Arora, Chen, "LESS: Selecting Influential Data for Targeted Instruction Tuning", ICML 2024.
/// Differs: gradients of the frozen weights of one block, sketched, instead of Adam's directions of low-rank factors. No warm-up: the paper
///          first trains the adapter for four epochs on a random 5 % of the pool and sums over the checkpoints of it; here gradients are the
///          model's as it is, or with the adapter it is given (select --adapter), which may have been trained on a random share. Training
///          is the learners' and this room does not know them.
std::unique_ptr<Selector> make_less(const SelectorOptions& options);

/// Near copies by their words leave (MinHash, duplicate_threshold), then SemDeDup within clusters of embeddings, then what lies farthest from
/// the prototypes of a new clustering is first. Looks at no target.
/// Source : Tirumala, Simig, Aghajanyan, Morcos, "D4: Improving LLM Pretraining via Document De-Duplication and Diversification", NeurIPS
///          2023, whose data had been through MinHash before.
/// Differs: embeddings of the sentence encoder instead of a 125-million-parameter decoder's last token. The first of near copies stays, and
///          d4_kept is a share of the rows that words left.
std::unique_ptr<Selector> make_d4(const SelectorOptions& options);

}  // namespace alluvium::selectors
