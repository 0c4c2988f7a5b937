// What a reader's confidence and refusals are worth, from answers given with the right documents and without.
//
// Threads: pure functions.
#pragma once

#include <vector>

#include "alluvium/experiments/qa_bench.h"

namespace alluvium::experiments {

/// One row for each codec, preset and reader whose answers hold both retrievals "gold" and "withheld".
std::vector<ConfidenceRow> summarise_confidence(const std::vector<QaAnswer>& answers);

}  // namespace alluvium::experiments
