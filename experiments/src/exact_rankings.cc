#include "exact_rankings.h"

#include "alluvium/experiments/selection_bench.h"

namespace alluvium::experiments {

void ExactRankings::add(const Contender& contender, const std::vector<int64_t>& ranked) {
  const selectors::SelectorOptions& options = contender.options;
  if (contender.selector == "zip_fit" && options.mode == "ref" && options.compressor == "gzip" &&
      options.level == 6) {
    by_chunk_bytes_[options.length.chunk_bytes] = ranked;
  }
}

std::optional<double> ExactRankings::recall(const Contender& contender,
                                            const std::vector<int64_t>& ranked, int64_t k) const {
  const auto exact = by_chunk_bytes_.find(contender.options.length.chunk_bytes);
  if (contender.selector != "zip_fit" || exact == by_chunk_bytes_.end()) {
    return std::nullopt;
  }
  return recall_of_top(exact->second, ranked, k);
}

}  // namespace alluvium::experiments
