#include "program.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "support/paths.h"

namespace alluvium::tests {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void redirect(const std::string& path, int flags, int to) {
  const int fd = open(path.c_str(), flags, 0600);
  if (fd < 0 || dup2(fd, to) < 0) {
    _exit(126);
  }
}

pid_t spawn(const std::vector<std::string>& arguments, const std::string& in,
            const std::string& out, const std::string& err) {
  std::vector<std::string> words = {ALLUVIUM_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    redirect(in, O_RDONLY, STDIN_FILENO);
    redirect(out, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(err, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    unsetenv("ALLUVIUM_ENDPOINT");
    unsetenv("ALLUVIUM_CONFIG");
    execv(argv[0], argv.data());
    _exit(127);
  }
  if (pid < 0) {
    throw std::runtime_error("cannot start a process");
  }
  return pid;
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

ProgramResult run_program(const std::vector<std::string>& arguments, const std::string& input) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "in") << input;
  const pid_t pid = spawn(arguments, directory / "in", directory / "out", directory / "err");
  int status = 0;
  waitpid(pid, &status, 0);
  return {exit_code_of(status), read_file(directory / "out"), read_file(directory / "err")};
}

ServeProcess::ServeProcess(std::vector<std::string> arguments) {
  const auto folder = std::filesystem::temp_directory_path();
  ready_file_ =
      (folder / ("alluvium-test-ready-" + std::to_string(getpid()) + "-" +
                 std::to_string(std::chrono::steady_clock::now().time_since_epoch().count())))
          .string();
  arguments.insert(arguments.begin(),
                   {"serve", "--port", "0", "--events-port", "0", "--ready-file", ready_file_});
  pid_ = spawn(arguments, "/dev/null", "/dev/null", "/dev/null");
  while (!std::filesystem::exists(ready_file_)) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  endpoint_ = nlohmann::json::parse(read_file(ready_file_)).at("endpoint").get<std::string>();
}

ServeProcess::~ServeProcess() {
  if (pid_ > 0) {
    stop(SIGKILL);
  }
  std::filesystem::remove(ready_file_);
}

int ServeProcess::stop(int signal) {
  kill(pid_, signal);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return exit_code_of(status);
}

}  // namespace alluvium::tests
