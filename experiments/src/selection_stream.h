// `alluvium select` over a pool too long to hold, as a child process: what it costs, and whether it goes on after it was killed.
//
// Purpose: the pool is selected from three times: without interruption, until the first checkpoint is there and the child is killed, and
//          from there to the end. Both outputs must have the same bytes.
// Threads: owned by the caller's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report.h"

namespace alluvium::experiments {

struct SelectionStreamOptions {
  std::string program;               ///< the alluvium program; empty = this one
  std::string pool;                  ///< .jsonl or .jsonl.gz file
  std::vector<std::string> targets;  ///< texts; at least one
  std::string directory;             ///< that exists and is empty: outputs, checkpoints and logs
  int64_t top = 1000;
  int64_t threads = 1;
  int64_t checkpoint_rows = 20'000;  ///< the default of `alluvium select`
};

/// One run of the child, to its end or until it was killed.
struct SelectionRun {
  double seconds = 0;
  double processor_seconds = 0;
  int64_t peak_rss_bytes = 0;
};

struct SelectionStreamReport {
  int64_t rows = 0;  ///< lines of the pool
  int64_t pool_bytes = 0;
  int64_t picked = 0;
  int64_t checkpoint_bytes = 0;  ///< of the one it went on from
  int64_t gone_on_at_row = 0;
  bool same_output = false;
  SelectionRun uninterrupted;
  SelectionRun killed;
  SelectionRun gone_on;
};

/// Throws InvalidArgument when the pool ends before its first checkpoint, Unavailable with the end of its log when the child fails.
SelectionStreamReport measure_selection_stream(const SelectionStreamOptions& options);

/// Writes `rows` rows to `path` with experiments/make_pool.py (`script`) from the SQuAD train passages and the Reuters texts of `data`. Throws
/// InvalidArgument when the script is absent or fails.
void make_stream_pool(const std::string& script, const std::string& data, int64_t rows,
                      uint64_t seed, const std::string& path);

/// The whole report as an object; its "runs" are the rows of a table.
Row to_row(const SelectionStreamOptions& options, const SelectionStreamReport& report);

}  // namespace alluvium::experiments
