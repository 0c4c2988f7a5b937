// The selectors that `alluvium bench selection` compares, as rows of its tables.
//
// Threads: thread-compatible.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "alluvium/selectors/selector.h"

namespace alluvium::experiments {

/// A selector as a row of a table.
struct Contender {
  std::string selector;  ///< name in the registry
  std::string mode;      ///< for people; may be empty
  selectors::SelectorOptions options;
};

/// Every mode of ZIP-FIT that the table declares, the exact ranking over the same pieces first of those it judges. `base` is what they have
/// in common; mode, compressor, level and pieces are theirs.
std::vector<Contender> zip_fit_contenders(const selectors::SelectorOptions& base);

/// What ZIP-FIT is compared with; the embedding only where there is an embedder.
std::vector<Contender> baseline_contenders(
    const selectors::SelectorOptions& base,
    const std::shared_ptr<const selectors::TextEmbedder>& embedder);

}  // namespace alluvium::experiments
