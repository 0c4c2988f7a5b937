// Selectors side by side: do the picks come from the target's own domain, and what does it cost.
//
// Purpose: what `alluvium bench selection` measures, on four targets of which the domain of every pool row is known, and on a set of pairs
//          for speed. Modes are chosen on other targets than they are reported on.
// Threads: owned by the caller's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alluvium/selectors/selector.h"

namespace alluvium::experiments {

struct SelectionTask {
  std::string target;                ///< humaneval, mbpp, minif2f or proofnet
  std::vector<std::string> targets;  ///< 64 texts, or as many as there are
  std::vector<selectors::Sample> pool;
  std::vector<bool> in_domain;  ///< whether a pool row is of the target's domain
};

/// Which rows of a target's split describe it: the first 64 in the order of the hex SHA-256 of "<seed>:<id>", or the 64 after them, on
/// which modes may be chosen.
enum class TargetRows { report, validation };

/// The pool is every row of the other splits and sets, 5,000 SQuAD train passages, 5,000 Reuters texts, CLINC150 train and pysec, in SHA order.
/// Texts are cut to `cut_bytes` bytes (0 = whole) at a character. Throws InvalidArgument naming a missing file.
SelectionTask load_selection_task(const std::string& data, const std::string& target,
                                  TargetRows rows, uint64_t seed, int64_t cut_bytes);

/// SQuAD train passages against HumanEval descriptions: the work that speed is compared on.
SelectionTask load_speed_task(const std::string& data, int64_t sources, int64_t targets);

struct SelectionMeasure {
  std::vector<int64_t> ranked;  ///< pool rows, best first; as many as were asked for
  std::vector<double> scores;   ///< of all rows when one stage scores them, else empty
  double seconds = 0;
  int64_t peak_rss_bytes = 0;
};

/// The best `picks` of a pool that is in memory. Includes preparing the targets and both passes of selectors that observe.
SelectionMeasure measure_selector(selectors::Selector& selector, const SelectionTask& task,
                                  int64_t picks);

/// Share of the first `k` that are in the domain; of all when there are fewer.
double precision_at(const SelectionTask& task, const std::vector<int64_t>& ranked, int64_t k);

/// Share of the best `k` of `exact` that are among the first `k` of `ranked`.
double recall_of_top(const std::vector<int64_t>& exact, const std::vector<int64_t>& ranked,
                     int64_t k);

}  // namespace alluvium::experiments
