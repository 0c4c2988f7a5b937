// What ZIP-FIT is compared with.
//
// Threads: as Selector.
#pragma once

#include <memory>

#include "alluvium/selectors/selector.h"

namespace alluvium::selectors {

/// Uniform in [0, 1) from seed and arrival alone.
std::unique_ptr<Selector> make_random(const SelectorOptions& options);

/// Random picks whose lengths have the histogram (powers of the square root of 2) of ZIP-FIT's picks: what a method must beat to show that
/// it does more than choose by length. Needs SelectorOptions::picks and two passes over the pool.
std::unique_ptr<Selector> make_length_matched_random(const SelectorOptions& options);

/// Mean over the targets of BM25 with the target as query; document frequencies and mean length are the pool's.
/// Source: Robertson and Zaragoza, 2009 (k1 = 1.2, b = 0.75), terms are lower-cased words, not stemmed.
std::unique_ptr<Selector> make_bm25(const SelectorOptions& options);

/// Source: Xie, Santurkar, Ma, Liang, "Data Selection for Language Models via Importance Resampling", NeurIPS 2023, and its package
///         data-selection 1.0.3: hashed counts of one and two words in 10,000 buckets, log ratio of target and pool, not divided by length.
/// Differs: all targets are one; the package also takes several, with weights of their own and quotas in proportion to given shares.
std::unique_ptr<Selector> make_dsir(const SelectorOptions& options);

/// Mean cosine to the targets' embeddings. Throws NotSupported without SelectorOptions::embedder.
std::unique_ptr<Selector> make_embedding(const SelectorOptions& options);

/// Retires exact and near copies of earlier samples, by their words (copy_index.h) and, with dedupe_semantic, by their embeddings: SemDeDup
/// (Abbas et al., 2023) over what is remembered instead of within clusters (recent_rows.h). What is left scores 1 - highest similarity of
/// words. The oldest texts are forgotten beyond dedupe_capacity. Throws NotSupported on dedupe_semantic without an embedder.
/// Cost   : about 0.6 kB a remembered text, and 1.5 kB for an embedding of 384 numbers; with them 4 ms a text where 262,144 are remembered.
std::unique_ptr<Selector> make_dedupe(const SelectorOptions& options);

}  // namespace alluvium::selectors
