// `alluvium serve` as a child process that can be killed without warning.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace alluvium::experiments {

struct ServerOptions {
  std::string program;                 ///< path of the alluvium program
  std::string directory;               ///< of the instance
  std::vector<std::string> arguments;  ///< passed on to serve, e.g. --set, key=value
  int64_t start_timeout_ms = 300000;   ///< a machine that computes elsewhere is slow, not broken
};

class ServerProcess {
 public:
  /// Starts and waits until the service is ready. Throws Unavailable with the end of its log when
  /// it does not get there.
  explicit ServerProcess(const ServerOptions& options);

  /// Kills it when it still runs.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  /// Address that clients connect to, e.g. tcp://127.0.0.1:40123.
  const std::string& endpoint() const { return endpoint_; }

  pid_t pid() const { return pid_; }

  /// SIGKILL, and waits until the process is gone.
  void kill();

  /// SIGTERM, and waits; the exit code. Throws Unavailable when it does not stop in time.
  int stop(int64_t timeout_ms = 30000);

  /// Path of the running program: what a child of the same build is.
  static std::string own_program();

 private:
  bool exited(int& status);

  std::string log_path_;
  std::string endpoint_;
  pid_t pid_ = -1;
};

}  // namespace alluvium::experiments
