#include "server_process.h"

#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"

extern char** environ;

namespace alluvium::experiments {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(5);
constexpr std::size_t kLogTail = 2000;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string tail_of(const std::string& path) {
  const std::string text = read_file(path);
  return text.substr(text.size() > kLogTail ? text.size() - kLogTail : 0);
}

/// Standard output and error go to `log_path`, so that the child can never block on a pipe nobody
/// reads.
pid_t spawn(std::vector<std::string> arguments, const std::string& log_path) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_path.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    throw Unavailable(fmt::format("cannot start {}", arguments[0]));
  }
  return pid;
}

}  // namespace

ServerProcess::ServerProcess(const ServerOptions& options)
    : log_path_(options.directory + "-serve.log") {
  const std::string ready_path = options.directory + "-ready.json";
  std::filesystem::remove(ready_path);
  std::vector<std::string> arguments = {
      options.program, "serve", "--directory",  options.directory, "--port", "0",
      "--events-port", "0",     "--ready-file", ready_path};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  pid_ = spawn(std::move(arguments), log_path_);

  const Stopwatch watch;
  int status = 0;
  // The ready file is written whole or not at all.
  while (!std::filesystem::exists(ready_path)) {
    if (exited(status)) {
      throw Unavailable(
          fmt::format("{} ended before it was ready:\n{}", options.program, tail_of(log_path_)));
    }
    if (watch.elapsed_ms() > static_cast<double>(options.start_timeout_ms)) {
      kill();
      throw Unavailable(fmt::format("{} was not ready after {} ms:\n{}", options.program,
                                    options.start_timeout_ms, tail_of(log_path_)));
    }
    std::this_thread::sleep_for(kPoll);
  }
  endpoint_ = nlohmann::json::parse(read_file(ready_path)).at("endpoint").get<std::string>();
}

ServerProcess::~ServerProcess() { kill(); }

void ServerProcess::kill() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
}

int ServerProcess::stop(int64_t timeout_ms) {
  ::kill(pid_, SIGTERM);
  const Stopwatch watch;
  int status = 0;
  while (!exited(status)) {
    if (watch.elapsed_ms() > static_cast<double>(timeout_ms)) {
      kill();
      throw Unavailable(fmt::format("the service did not stop within {} ms:\n{}", timeout_ms,
                                    tail_of(log_path_)));
    }
    std::this_thread::sleep_for(kPoll);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool ServerProcess::exited(int& status) {
  if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) {
    pid_ = -1;
  }
  return pid_ <= 0;
}

std::string ServerProcess::own_program() {
  return std::filesystem::read_symlink("/proc/self/exe").string();
}

}  // namespace alluvium::experiments
