#include "server_process.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"

namespace alluvium::experiments {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(5);

std::string ready_path(const ServerOptions& options) { return options.directory + "-ready.json"; }

std::vector<std::string> command_of(const ServerOptions& options) {
  std::vector<std::string> arguments = {
      options.program, "serve", "--directory",  options.directory,  "--port", "0",
      "--events-port", "0",     "--ready-file", ready_path(options)};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  return arguments;
}

// A ready file of an earlier life must not be taken for this one's.
ChildProcess start(const ServerOptions& options) {
  std::filesystem::remove(ready_path(options));
  return ChildProcess(command_of(options), options.directory + "-serve.log");
}

}  // namespace

ServerProcess::ServerProcess(const ServerOptions& options) : process_(start(options)) {
  const Stopwatch watch;
  // The ready file is written whole or not at all.
  while (!std::filesystem::exists(ready_path(options))) {
    if (!process_.is_running()) {
      throw Unavailable(
          fmt::format("{} ended before it was ready:\n{}", options.program, process_.log_tail()));
    }
    if (watch.elapsed_ms() > static_cast<double>(options.start_timeout_ms)) {
      process_.kill();
      throw Unavailable(fmt::format("{} was not ready after {} ms:\n{}", options.program,
                                    options.start_timeout_ms, process_.log_tail()));
    }
    std::this_thread::sleep_for(kPoll);
  }
  std::ifstream file(ready_path(options), std::ios::binary);
  endpoint_ = nlohmann::json::parse(file).at("endpoint").get<std::string>();
}

int ServerProcess::stop(int64_t timeout_ms) {
  process_.ask_to_stop();
  const Stopwatch watch;
  while (process_.is_running()) {
    if (watch.elapsed_ms() > static_cast<double>(timeout_ms)) {
      process_.kill();
      throw Unavailable(fmt::format("the service did not stop within {} ms:\n{}", timeout_ms,
                                    process_.log_tail()));
    }
    std::this_thread::sleep_for(kPoll);
  }
  return process_.exit_code();
}

}  // namespace alluvium::experiments
