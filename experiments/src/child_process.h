// A program as a child process that can be watched, stopped, or killed without warning.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace alluvium::experiments {

class ChildProcess {
 public:
  /// arguments: the program's path first. Standard input is empty; standard output and error are appended to `log_path`, so that the child
  /// can never block on a pipe nobody reads. Throws Unavailable when it cannot be started.
  ChildProcess(std::vector<std::string> arguments, std::string log_path);

  /// Kills it when it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Whether it still runs. Asked often, it keeps peak_rss_bytes() true.
  bool is_running();

  /// SIGKILL, and waits until the process is gone.
  void kill();

  /// SIGTERM; does not wait.
  void ask_to_stop();

  /// Bytes of `path` that it has read so far through its own descriptor; 0 when it has not opened the file.
  int64_t bytes_read_of(const std::string& path) const;

  /// Exit code of a process that has ended; -1 when a signal ended it.
  int exit_code() const { return exit_code_; }

  /// User and system time of a process that has ended.
  double processor_seconds() const { return processor_seconds_; }

  /// Bytes resident at most, as of the last is_running() that said yes.
  int64_t peak_rss_bytes() const { return peak_rss_bytes_; }

  /// The end of what it wrote.
  std::string log_tail() const;

 private:
  void reap(int options);

  std::string log_path_;
  pid_t pid_ = -1;
  int exit_code_ = -1;
  double processor_seconds_ = 0;
  int64_t peak_rss_bytes_ = 0;
};

/// Path of the running program: what a child of the same build is.
std::string own_program();

}  // namespace alluvium::experiments
