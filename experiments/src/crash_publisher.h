// One life's publisher: sends from the ledger until the service dies under it.
//
// Threads: run() works on its caller's thread; the ledger must not be used elsewhere meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "alluvium/service/client.h"
#include "crash_ledger.h"

namespace alluvium::experiments {

/// Options of a client that soon notices a kill.
service::ClientOptions impatient_client(const std::string& endpoint);

/// Publishes to `endpoint` until it stops answering or `stopping` is set, then hands what was not acknowledged back to the ledger.
void publish_until_killed(const std::string& endpoint, CrashLedger& ledger,
                          const std::atomic<bool>& stopping);

/// Sends what waits to be sent again and returns when it is acknowledged and applied.
void publish_rest(const std::string& endpoint, CrashLedger& ledger);

}  // namespace alluvium::experiments
