// Adapt-inf over a sample log: each run brings new rows, plays one round over everything that ever came, and gives out its picks.
//
// Purpose: what `alluvium select --selector adapt_inf --log` runs. The log is written as the round goes: killed at any moment and started again,
//          it goes on where it stood, and picks that were chosen but not given out are given out then.
// Source : Maharana et al., ICLR 2025, the whole step; what is pruned is pruned at the beginning of the next round, after the training.
// Threads: owned by the caller's thread.
#pragma once

#include <cstdint>
#include <functional>

#include "alluvium/memory_bank/sample_log.h"
#include "alluvium/selectors/adapt_inf.h"
#include "alluvium/service/selection.h"

namespace alluvium::service {

struct RoundOfLogReport {
  int64_t round = 0;
  SelectionReport
      selection;  ///< rows: of the pool; refused: cannot be learned from; retired: copies and pruned
  int64_t known = 0;     ///< rows of the pool that were logged before, and are not judged twice
  int64_t scored = 0;    ///< by this round, earlier runs included
  int64_t pool = 0;      ///< samples in the log that are not retired, afterwards
  bool resumed = false;  ///< an earlier run had begun this round, or chosen without giving out
};

/// `rounds` must be new. Of `options` count pool, fields, top, batch_rows, line_bytes, annotate, explain and the three files; a row without
/// an id is named by the digest of its line. Throws InvalidArgument on options outside their bounds or a pool that cannot be opened,
/// DataCorruption on a log that other options wrote, Unavailable when reading or writing fails.
RoundOfLogReport run_round_of_log(selectors::AdaptInf& rounds, memory_bank::SampleLog& log,
                                  const SelectionOptions& options,
                                  const std::function<void(const SelectionProgress&)>& on_progress);

}  // namespace alluvium::service
