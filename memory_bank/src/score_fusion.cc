#include "score_fusion.h"

#include <algorithm>
#include <unordered_map>

namespace alluvium::memory_bank {

void fuse_scores(std::vector<RetrievalHit>& hits, double vector_weight) {
  double highest = 0;
  for (const RetrievalHit& hit : hits) {
    highest = std::max(highest, hit.lexical);
  }
  for (RetrievalHit& hit : hits) {
    const double lexical = highest > 0 ? hit.lexical / highest : 0;
    hit.score = lexical + vector_weight * hit.cosine;
  }
}

void fuse_ranks(std::vector<RetrievalHit>& hits, const std::vector<LexicalHit>& lexical,
                const std::vector<KeyHit>& nearest, double k) {
  std::unordered_map<int64_t, double> scores;
  const auto add_ranks = [&](const auto& list) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      scores[list[i].document_row] += 1.0 / (k + static_cast<double>(i + 1));
    }
  };
  add_ranks(lexical);
  add_ranks(nearest);
  for (RetrievalHit& hit : hits) {
    hit.score = scores[hit.document_row];
  }
}

void rank_hits(std::vector<RetrievalHit>& hits, int64_t limit) {
  std::sort(hits.begin(), hits.end(), [](const RetrievalHit& a, const RetrievalHit& b) {
    return a.score != b.score ? a.score > b.score : a.document_row < b.document_row;
  });
  hits.resize(std::min(hits.size(), static_cast<std::size_t>(std::max<int64_t>(limit, 0))));
}

}  // namespace alluvium::memory_bank
