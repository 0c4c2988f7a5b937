// A selector over a pool of JSON lines: rows in, picks out, memory that does not grow with the pool, and a state to go on from.
//
// Purpose: what `alluvium select` runs. Reading, batching, checkpoints and output are here; judging is the selector's.
// Differs: with a best-K or a budget nothing is given out before the end of the pool. With a quantile, picks leave as they are found; rows
//          written to a file are cut back to the last checkpoint on resume, those written to a pipe since then come twice.
// Threads: owned by the caller's thread; the selector uses its own workers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "alluvium/selectors/selector.h"

namespace alluvium::service {

/// Which fields of a JSON object are a sample.
struct RowFields {
  std::vector<std::string> text = {"text"};  ///< joined by line breaks; each must be a string
  std::string id = "id";  ///< string or integer; a row without it is named by its line
  /// For selectors that ask a model what it would learn: "prompt" (as it is) or "question" (becomes "Question: …\nAnswer:"), "answer" or the
  /// first of "answers", "document" or "context" are read where they are present. Such a row needs no text; it is then all of them. A row
  /// without any of them is plain text.
  bool with_answers = false;
};

struct SelectionOptions {
  std::string pool;  ///< .jsonl or .jsonl.gz file, or "-" for standard input
  RowFields fields;

  // Exactly one of these; none for a selector that only retires (dedupe): then all the others are picks.
  int64_t top = 0;
  int64_t budget_tokens = 0;
  std::optional<double> quantile;

  int64_t window = 10'000;  ///< of quantile: scores it is taken of
  /// Of budget_tokens: tokens of a text
  std::function<int64_t(const std::string&)> count_tokens;
  int64_t batch_rows = 256;
  std::size_t line_bytes = std::size_t{16} << 20;

  bool annotate = false;  ///< adds the object "selection" to each pick: selector, score, rank, …
  bool explain = false;   ///< with a reason; annotates too
  std::string out;        ///< file of the picks; empty = standard output
  std::string retired;    ///< file of {"id", "reason"} lines; empty = only counted
  std::string dead_letters;  ///< file of {"line", "reason", "content"} lines; empty = only counted

  std::string state_directory;       ///< empty = no checkpoints
  int64_t checkpoint_rows = 20'000;  ///< between two of them
};

struct SelectionProblem {
  int64_t line = 0;
  std::string reason;
};

struct SelectionReport {
  int64_t rows = 0;  ///< of the pool that are samples
  int64_t picked = 0;
  int64_t refused = 0;  ///< too short, or a target's own text
  int64_t retired = 0;
  int64_t bad = 0;         ///< lines that are no samples
  int64_t tokens = 0;      ///< of the picks, with a budget
  int64_t resumed_at = 0;  ///< row at which an earlier run was gone on with; 0 = from the start
  std::vector<SelectionProblem> problems;  ///< the first five bad lines
  std::string first_refusal;               ///< why the first refused row was
};

struct SelectionProgress {
  const char* phase = "";  ///< "reading", "scoring", "refining"
  int64_t rows = 0;
  int64_t picked = 0;
  std::optional<double> share;  ///< of the phase
};

/// Texts of a target file. Bad lines and rows without text are InvalidArgument naming file, line and field; so is a file without any row.
selectors::TargetSet load_targets(const std::string& path, const RowFields& fields);

/// Throws InvalidArgument on options outside their bounds, a pool that cannot be opened, or a state that belongs to another selection or
/// another pool; DataCorruption on a damaged state; Unavailable when reading or writing fails. A state is removed once its run is done.
SelectionReport run_selection(selectors::Selector& selector, const selectors::TargetSet& targets,
                              const SelectionOptions& options,
                              const std::function<void(const SelectionProgress&)>& on_progress);

}  // namespace alluvium::service
