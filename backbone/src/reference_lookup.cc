#include "reference_lookup.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace alluvium::backbone {

ReferenceLookup::ReferenceLookup(std::span<const TokenId> reference, std::span<const TokenId> topic)
    : reference_(reference) {
  const std::unordered_set<TokenId> wanted(topic.begin(), topic.end());
  std::unordered_map<TokenId, int64_t> occurrences;
  for (const TokenId token : reference) {
    ++occurrences[token];
  }
  weight_before_.push_back(0);
  for (const TokenId token : reference) {
    weight_before_.push_back(
        weight_before_.back() +
        (wanted.contains(token) ? 1.0 / static_cast<double>(occurrences[token]) : 0.0));
  }
}

double ReferenceLookup::weight_about(std::size_t place) const {
  const std::size_t begin = place - std::min(place, kNear);
  const std::size_t end = std::min(place + kNear + 1, reference_.size());
  return weight_before_[end] - weight_before_[begin] -
         (weight_before_[place + 1] - weight_before_[place]);
}

std::span<const TokenId> ReferenceLookup::follow(std::span<const TokenId> generated,
                                                 int64_t limit) const {
  if (limit <= 0) {
    return {};
  }
  std::size_t longest = 0;
  double nearest = 0;
  std::size_t next = 0;
  for (std::size_t end = 1; end < reference_.size(); ++end) {
    const std::size_t most = std::min({end, generated.size(), kLongestEnd});
    std::size_t same = 0;
    while (same < most && reference_[end - 1 - same] == generated[generated.size() - 1 - same]) {
      ++same;
    }
    if (same == 0 || same < longest) {
      continue;
    }
    const double weight = weight_about(end - 1);
    if (same > longest || weight > nearest) {
      longest = same;
      nearest = weight;
      next = end;
    }
  }
  if (longest == 0) {
    return {};
  }
  return reference_.subspan(next,
                            std::min(static_cast<std::size_t>(limit), reference_.size() - next));
}

}  // namespace alluvium::backbone
