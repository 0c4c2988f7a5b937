// The Python packages zip-fit and data-selection, on the same texts in the same run.
#pragma once

#include <string>
#include <vector>

#include "alluvium/experiments/selection_bench.h"

namespace alluvium::experiments {

/// `peer`: zip-fit-gzip, zip-fit-lz4 or data-selection. `script` is experiments/peers/selection_peers.py. Throws InvalidArgument when the
/// peers are not installed or the script fails.
SelectionMeasure measure_peer(const std::string& script, const std::string& peer,
                              const SelectionTask& task, int64_t threads, int64_t picks);

}  // namespace alluvium::experiments
