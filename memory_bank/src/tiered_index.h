// An exact index up to a number of keys, and a graph for what comes after.
//
// Purpose: "auto": exact answers while a bank is small, bounded cost when it is large, and no pause
//          to rebuild one as the other.
// Threads: thread-safe.
#pragma once

#include <memory>

#include "alluvium/memory_bank/key_index.h"

namespace alluvium::memory_bank {

/// Documents stay in the tier they were added to; an updated document may change it.
std::unique_ptr<KeyIndex> make_tiered_index(int64_t dimension, int64_t exact_keys,
                                            const HnswOptions& options = {});

}  // namespace alluvium::memory_bank
