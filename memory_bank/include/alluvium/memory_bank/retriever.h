// Which documents a question should read: lexical and vector candidates, fused.
//
// Source : score fusion measured in docs/ARCHITECTURE.md ("Retrieval"); reciprocal-rank fusion:
//          Cormack, Clarke, Buettcher, SIGIR 2009.
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "alluvium/backbone/encoder.h"
#include "alluvium/memory_bank/key_index.h"
#include "alluvium/memory_bank/store.h"

namespace alluvium::memory_bank {

enum class RetrievalMethod { bm25, vector, hybrid, rrf };

/// Throws InvalidArgument on an unknown word.
RetrievalMethod parse_retrieval_method(const std::string& word);

struct RetrieverOptions {
  int64_t candidates = 100;  ///< taken from each side before the fusion
  /// Hybrid score = BM25 / highest BM25 of the query + vector_weight * cosine
  double vector_weight = 1.5;
  double rrf_k = 60;           ///< rrf score = sum of 1 / (rrf_k + rank)
  std::string index = "auto";  ///< exact | hnsw | auto: exact up to exact_keys keys, then hnsw
  int64_t exact_keys = 200000;
};

struct RetrievalQuery {
  std::string name_space = "default";
  std::string text;
  int64_t limit = 5;
  int64_t as_of_us = 0;  ///< 0 = newest; else only documents valid by then
  RetrievalMethod method = RetrievalMethod::hybrid;
};

struct RetrievalHit {
  int64_t document_row = 0;
  double score = 0;    ///< of the method asked for
  double lexical = 0;  ///< BM25
  double cosine = 0;
};

class Retriever {
 public:
  /// store and encoder must outlive it. Fills its indexes (one a namespace) from the store.
  Retriever(Store& store, const backbone::Encoder& encoder, const RetrieverOptions& options);
  ~Retriever();

  /// Best first; ties go to the lower row. Empty for a namespace without documents.
  std::vector<RetrievalHit> search(const RetrievalQuery& query) const;

  /// Follow the store: call after a commit or an erase became durable.
  void add(const DocumentKeys& keys);
  void remove(int64_t document_row);

  int64_t keys() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace alluvium::memory_bank
