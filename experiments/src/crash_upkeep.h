// What an operator does to a service's memories while it is about to be killed.
//
// Threads: call from a thread of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace alluvium::experiments {

struct UpkeepCounts {
  int64_t recompressions = 0;  ///< asked for and begun
  int64_t compactions = 0;     ///< finished
};

/// Has the memories recompressed to tiny and to compact in turn, and compacted after each, as fast as
/// the service allows, until it is killed. Adds to `counts`.
void upkeep_until_killed(const std::string& endpoint, const std::atomic<bool>& stopping,
                         UpkeepCounts& counts);

/// Has everything recompressed to `preset` and waits until that is done. Returns how many chunks have
/// no memory made for it then.
int64_t recompress_all(const std::string& endpoint, const std::string& preset);

}  // namespace alluvium::experiments
