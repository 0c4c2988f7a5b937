// What a memory record must hold, or is refused.
//
// Threads: pure functions.
#pragma once

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {

/// Throws DataCorruption saying `what` is wrong when the condition does not hold.
inline void require(bool condition, const char* what) {
  if (!condition) {
    throw DataCorruption(fmt::format("memory record: {}", what));
  }
}

}  // namespace alluvium::memory_bank
