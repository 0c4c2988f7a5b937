// A service killed at random moments under load, and what is left of what it acknowledged.
//
// Purpose: what `alluvium bench crash` and the crash test run. Each life of the service is ended by SIGKILL while a publisher sends puts,
//          updates and deletes as fast as credit allows; what was not acknowledged is sent again in the next life. Beside it all
//          memories are recompressed and compacted over and over.
// Threads: owned by the caller's thread; one publisher thread inside.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace alluvium::experiments {

struct CrashBenchOptions {
  int64_t kills = 50;
  uint64_t seed = 0;
  int64_t documents = 200;       ///< distinct ids
  int64_t shortest_life_ms = 5;  ///< a life's length after "ready" is uniform between these two
  int64_t longest_life_ms = 600;
  std::string program;    ///< path of the alluvium program; empty = the running one
  std::string directory;  ///< of the instance; must not hold one
  std::vector<std::string> serve_arguments;  ///< passed on to serve
};

struct CrashReport {
  int64_t kills = 0;
  int64_t operations_acknowledged = 0;  ///< puts and deletes, over all lives
  int64_t operations_resent = 0;   ///< not acknowledged in their life, sent again in a later one
  int64_t documents_expected = 0;  ///< ids that must be present at the end
  int64_t documents_present = 0;
  int64_t lost = 0;     ///< acknowledged and not there, in an older version, or with another text
  int64_t doubled = 0;  ///< listed or stored more than once
  int64_t without_memory = 0;       ///< chunks that nothing made a memory for
  int64_t recompressions = 0;       ///< begun, over all lives
  int64_t compactions = 0;          ///< finished, over all lives
  int64_t not_recompressed = 0;     ///< memories that the last recompression left as they were
  std::vector<std::string> faults;  ///< what the store's own check found
  double restart_ms_p50 = 0;        ///< from the start of the process to "ready"
  double restart_ms_max = 0;

  bool clean() const {
    return lost == 0 && doubled == 0 && without_memory == 0 && not_recompressed == 0 &&
           faults.empty();
  }
};

/// Throws Unavailable when a service does not come up again: a manual step would be needed.
CrashReport measure_crashes(const CrashBenchOptions& options);

}  // namespace alluvium::experiments
