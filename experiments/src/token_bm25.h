// BM25 over token ids: the documents that look most like a question, to train against.
//
// Source : Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, equations 3.15 and 3.3 (k1 = 1.2,
//          b = 0.75; the idf is kept positive by adding 1 within the logarithm).
// Threads: immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "alluvium/backbone/tokenizer.h"

namespace alluvium::experiments {

class TokenBm25 {
 public:
  explicit TokenBm25(std::span<const std::span<const backbone::TokenId>> documents);

  /// At most `limit` documents that share a token with the query, best first; ties go to the earlier document.
  std::vector<std::size_t> best(std::span<const backbone::TokenId> query, int64_t limit) const;

 private:
  struct Posting {
    std::size_t document;
    double weight;  // of one occurrence of the token in a query
  };

  std::size_t documents_;
  std::unordered_map<backbone::TokenId, std::vector<Posting>> postings_;
};

}  // namespace alluvium::experiments
