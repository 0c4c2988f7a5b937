// The exact rankings of a run, by which the others are judged.
//
// Purpose: a mode's recall means something only against the exact ranking over the same pieces of the texts: ZIP-FIT over pieces and over
//          whole texts are two rankings, neither of which approximates the other.
// Threads: thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "selection_contenders.h"

namespace alluvium::experiments {

class ExactRankings {
 public:
  /// Keeps `ranked` (pool rows, best first) when `contender` is an exact one: zip_fit in mode ref by gzip level 6.
  void add(const Contender& contender, const std::vector<int64_t>& ranked);

  /// Share of the exact best `k` among the first `k` of `ranked`. Nothing for another selector than zip_fit, nor without an exact ranking
  /// over the contender's pieces.
  std::optional<double> recall(const Contender& contender, const std::vector<int64_t>& ranked,
                               int64_t k) const;

 private:
  std::map<int64_t, std::vector<int64_t>> by_chunk_bytes_;
};

}  // namespace alluvium::experiments
