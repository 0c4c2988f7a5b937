// Five text tasks as instructions with short answers: what a sequence of tasks learns.
//
// Source : SQuAD reading, pysec questions, CLINC150, TREC, HWU64 in the project's evaluation data.
// Threads: thread-safe function.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alluvium/selectors/selector.h"

namespace alluvium::experiments {

struct TextTask {
  std::string name;
  std::vector<selectors::Sample> training;  ///< ids "<task>/<row>", distinct over all tasks
  std::vector<selectors::Sample> held_out;
};

/// squad, pysec, clinc150, trec, hwu64, in this order. Rows are the first in the order of the hex SHA-256 of "<seed>:<id>"; held-out ones
/// come from another split where there is one, else from the rows after the training ones. Reading rows whose passage has more than
/// `passage_bytes` bytes are passed by. Throws InvalidArgument naming a missing file or a task with too few rows.
std::vector<TextTask> load_text_tasks(const std::string& data, int64_t training, int64_t held_out,
                                      int64_t passage_bytes, uint64_t seed);

}  // namespace alluvium::experiments
