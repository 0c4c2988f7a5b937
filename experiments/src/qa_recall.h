// Retrieval alone: where the documents that questions name stand among the hits.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "alluvium/core/document.h"
#include "alluvium/experiments/qa_dataset.h"
#include "alluvium/service/engine.h"

namespace alluvium::experiments {

/// Hits looked at for a question.
inline constexpr int64_t kRecallPool = 10;

/// First place (from 0) of a named document among the hits of each question; kRecallPool when none is there.
class Recall {
 public:
  void add(int64_t place) { places_.push_back(place); }
  int64_t questions() const { return static_cast<int64_t>(places_.size()); }

  /// Percent of the questions with a named document among the first k; 0 without questions.
  double at(int64_t k) const;

 private:
  std::vector<int64_t> places_;
};

/// Ids of the stored ones among `documents`, by row.
std::map<int64_t, std::string> document_ids(memory_bank::Store& store,
                                            const std::vector<Document>& documents);

/// Of the questions that name a document, by `retrieval`, a word of parse_retrieval_method(). Progress on standard error.
Recall measure_recall(service::Engine& engine, const std::string& retrieval,
                      const std::map<int64_t, std::string>& ids,
                      const std::vector<QaQuestion>& questions);

}  // namespace alluvium::experiments
