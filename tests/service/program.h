// The program `alluvium` as a child process.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace alluvium::tests {

struct ProgramResult {
  int exit_code = -1;  ///< 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

/// Runs the program with `arguments` to its end. ALLUVIUM_ENDPOINT and ALLUVIUM_CONFIG are not passed on.
ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& input = "");

/// `alluvium serve`, stopped with the object.
class ServeProcess {
 public:
  /// Waits until it is ready or has ended.
  explicit ServeProcess(std::vector<std::string> arguments);
  ~ServeProcess();
  ServeProcess(const ServeProcess&) = delete;
  ServeProcess& operator=(const ServeProcess&) = delete;

  /// Empty when it ended before it was ready.
  const std::string& endpoint() const { return endpoint_; }

  /// Sends the signal and waits for the exit code.
  int stop(int signal);

 private:
  pid_t pid_ = -1;
  std::string ready_file_;
  std::string endpoint_;
};

}  // namespace alluvium::tests
