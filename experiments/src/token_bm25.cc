#include "token_bm25.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace alluvium::experiments {
namespace {

constexpr double kSaturation = 1.2;
constexpr double kLengthShare = 0.75;

}  // namespace

TokenBm25::TokenBm25(std::span<const std::span<const backbone::TokenId>> documents)
    : documents_(documents.size()) {
  double tokens = 0;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    tokens += static_cast<double>(documents[d].size());
    std::map<backbone::TokenId, double> counts;
    for (const backbone::TokenId token : documents[d]) {
      ++counts[token];
    }
    for (const auto& [token, count] : counts) {
      postings_[token].push_back({d, count});
    }
  }
  const auto total = static_cast<double>(documents.size());
  for (auto& [token, list] : postings_) {
    const auto holders = static_cast<double>(list.size());
    const double idf = std::log(1 + (total - holders + 0.5) / (holders + 0.5));
    for (Posting& posting : list) {
      const double length =
          static_cast<double>(documents[posting.document].size()) * total / tokens;
      const double norm = kSaturation * (1 - kLengthShare + kLengthShare * length);
      posting.weight = idf * posting.weight * (kSaturation + 1) / (posting.weight + norm);
    }
  }
}

std::vector<std::size_t> TokenBm25::best(std::span<const backbone::TokenId> query,
                                         int64_t limit) const {
  std::vector<double> scores(documents_, 0.0);
  for (const backbone::TokenId token : query) {
    const auto list = postings_.find(token);
    if (list == postings_.end()) {
      continue;
    }
    for (const Posting& posting : list->second) {
      scores[posting.document] += posting.weight;
    }
  }
  std::vector<std::pair<double, std::size_t>> ranked;  // negative scores: ascending is best first
  for (std::size_t document = 0; document < documents_; ++document) {
    if (scores[document] > 0) {
      ranked.emplace_back(-scores[document], document);
    }
  }
  const auto kept = std::min<std::size_t>(ranked.size(), static_cast<std::size_t>(limit));
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(kept),
                    ranked.end());
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < kept; ++i) {
    found.push_back(ranked[i].second);
  }
  return found;
}

}  // namespace alluvium::experiments
