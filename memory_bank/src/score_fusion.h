// How lexical and vector candidates become one ranking.
//
// Source : reciprocal-rank fusion: Cormack, Clarke, Buettcher, SIGIR 2009; score fusion: measured
//          in docs/ARCHITECTURE.md, "Retrieval".
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "alluvium/memory_bank/retriever.h"

namespace alluvium::memory_bank {

/// Score of each hit = lexical / the highest lexical score + weight * cosine.
void fuse_scores(std::vector<RetrievalHit>& hits, double vector_weight);

/// Score of each hit = sum over both lists of 1 / (k + rank), rank from 1; a document in one list
/// only gets one term. lexical, nearest: document rows, best first.
void fuse_ranks(std::vector<RetrievalHit>& hits, const std::vector<LexicalHit>& lexical,
                const std::vector<KeyHit>& nearest, double k);

/// Best first, ties to the lower row, at most `limit`.
void rank_hits(std::vector<RetrievalHit>& hits, int64_t limit);

}  // namespace alluvium::memory_bank
