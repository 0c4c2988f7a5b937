// `alluvium serve` as a child process that can be killed without warning.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "child_process.h"

namespace alluvium::experiments {

struct ServerOptions {
  std::string program;                 ///< path of the alluvium program
  std::string directory;               ///< of the instance
  std::vector<std::string> arguments;  ///< passed on to serve, e.g. --set, key=value
  int64_t start_timeout_ms = 300000;   ///< a machine that computes elsewhere is slow, not broken
};

/// Killed with the object.
class ServerProcess {
 public:
  /// Starts and waits until the service is ready. Throws Unavailable with the end of its log when
  /// it does not get there.
  explicit ServerProcess(const ServerOptions& options);

  /// Address that clients connect to, e.g. tcp://127.0.0.1:40123.
  const std::string& endpoint() const { return endpoint_; }

  /// Bytes it held at most so far; 0 when it has ended.
  int64_t peak_rss_bytes() { return process_.is_running() ? process_.peak_rss_bytes() : 0; }

  /// SIGKILL, and waits until the process is gone.
  void kill() { process_.kill(); }

  /// SIGTERM, and waits; the exit code. Throws Unavailable when it does not stop in time.
  int stop(int64_t timeout_ms = 30000);

 private:
  ChildProcess process_;
  std::string endpoint_;
};

}  // namespace alluvium::experiments
