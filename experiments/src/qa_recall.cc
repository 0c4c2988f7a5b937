#include "qa_recall.h"

#include <algorithm>

#include "progress_bar.h"

namespace alluvium::experiments {

double Recall::at(int64_t k) const {
  const auto found =
      std::count_if(places_.begin(), places_.end(), [k](int64_t place) { return place < k; });
  return places_.empty() ? 0
                         : 100.0 * static_cast<double>(found) / static_cast<double>(questions());
}

std::map<int64_t, std::string> document_ids(memory_bank::Store& store,
                                            const std::vector<Document>& documents) {
  std::map<int64_t, std::string> ids;
  for (const Document& document : documents) {
    if (const auto summary = store.find(document.name_space, document.id)) {
      ids[summary->row] = document.id;
    }
  }
  return ids;
}

Recall measure_recall(service::Engine& engine, const std::string& retrieval,
                      const std::map<int64_t, std::string>& ids,
                      const std::vector<QaQuestion>& questions) {
  Recall recall;
  ProgressBar bar("recall " + retrieval, static_cast<int64_t>(questions.size()));
  for (const QaQuestion& question : questions) {
    bar.advance();
    if (question.document_ids.empty()) {
      continue;
    }
    memory_bank::RetrievalQuery query;
    query.text = question.text;
    query.limit = kRecallPool;
    query.method = memory_bank::parse_retrieval_method(retrieval);
    const auto hits = engine.retriever().search(query);
    const auto wanted = [&](const memory_bank::RetrievalHit& hit) {
      const auto id = ids.find(hit.document_row);
      return id != ids.end() &&
             std::count(question.document_ids.begin(), question.document_ids.end(), id->second) > 0;
    };
    const auto found = std::find_if(hits.begin(), hits.end(), wanted);
    recall.add(found == hits.end() ? kRecallPool : found - hits.begin());
  }
  return recall;
}

}  // namespace alluvium::experiments
