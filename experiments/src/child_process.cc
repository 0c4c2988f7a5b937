#include "child_process.h"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "alluvium/core/error.h"
#include "alluvium/core/process_memory.h"

extern char** environ;

namespace alluvium::experiments {
namespace {

constexpr std::size_t kLogTail = 2000;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

ChildProcess::ChildProcess(std::vector<std::string> arguments, std::string log_path)
    : log_path_(std::move(log_path)) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_path_.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int failed = posix_spawn(&pid_, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    throw Unavailable(fmt::format("cannot start {}", arguments[0]));
  }
}

ChildProcess::~ChildProcess() { kill(); }

bool ChildProcess::is_running() {
  if (pid_ > 0) {
    // An ended process has no memory left to ask about, and the kernel's own maximum begins with this program's.
    peak_rss_bytes_ = std::max(peak_rss_bytes_, alluvium::peak_rss_bytes(pid_));
    reap(WNOHANG);
  }
  return pid_ > 0;
}

void ChildProcess::kill() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    reap(0);
    pid_ = -1;
  }
}

void ChildProcess::ask_to_stop() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
  }
}

int64_t ChildProcess::bytes_read_of(const std::string& path) const {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path wanted = fs::canonical(path, ignored);
  const fs::path process = fmt::format("/proc/{}", pid_);
  for (const fs::directory_entry& entry : fs::directory_iterator(process / "fd", ignored)) {
    if (fs::read_symlink(entry.path(), ignored) == wanted) {
      std::ifstream file(process / "fdinfo" / entry.path().filename());
      std::string name;
      int64_t position = 0;
      file >> name >> position;  // "pos:" is the first line
      return position;
    }
  }
  return 0;
}

std::string ChildProcess::log_tail() const {
  std::ifstream file(log_path_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.substr(text.size() > kLogTail ? text.size() - kLogTail : 0);
}

void ChildProcess::reap(int options) {
  int status = 0;
  rusage usage{};
  if (wait4(pid_, &status, options, &usage) == pid_) {
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    processor_seconds_ = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    pid_ = -1;
  }
}

std::string own_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

}  // namespace alluvium::experiments
