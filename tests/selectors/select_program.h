// `alluvium select` as a child process, and pools for it.
#pragma once

#include <array>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/checkpoint_writers.h"
#include "support/paths.h"
#include "texts.h"

namespace alluvium::tests {

using nlohmann::json;

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

inline void write_all(int descriptor, const std::string& text) {
  for (std::size_t written = 0; written < text.size();) {
    const ssize_t n = ::write(descriptor, text.data() + written, text.size() - written);
    REQUIRE(n > 0);
    written += static_cast<std::size_t>(n);
  }
}

// The program as a child whose standard input is ours to write. Killed with the object.
class Child {
 public:
  explicit Child(const std::vector<std::string>& arguments) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    child_ = fork();
    if (child_ == 0) {
      dup2(ends[0], STDIN_FILENO);
      close(ends[0]);
      close(ends[1]);
      std::vector<char*> raw;
      for (const std::string& argument : arguments) {
        raw.push_back(const_cast<char*>(argument.c_str()));
      }
      raw.push_back(nullptr);
      execv(ALLUVIUM_PROGRAM, raw.data());
      _exit(127);
    }
    close(ends[0]);
    input_ = ends[1];
  }
  ~Child() {
    close(input_);
    end();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int input() const { return input_; }

  bool is_running() {
    has_ended_ = has_ended_ || waitpid(child_, nullptr, WNOHANG) == child_;
    return !has_ended_;
  }

  // The end to write of a named pipe, once the program reads the other.
  int open_pipe(const std::string& path) {
    int descriptor = -1;
    while ((descriptor = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0 &&
           is_running()) {
      usleep(2000);
    }
    REQUIRE(descriptor >= 0);
    REQUIRE(fcntl(descriptor, F_SETFL, 0) == 0);
    return descriptor;
  }

  void kill_when_there_is(const std::string& file) {
    while (!std::filesystem::exists(file) && is_running()) {
      usleep(2000);
    }
    CHECK(is_running());
    CHECK(std::filesystem::exists(file));
    end();
  }

  void wait_until_input_is_read() {
    int unread = 1;
    while (ioctl(input_, FIONREAD, &unread) == 0 && unread > 0 && is_running()) {
      usleep(2000);
    }
    REQUIRE(is_running());
  }

  // Bytes resident at most until now.
  int64_t peak_resident_bytes() const {
    std::ifstream file("/proc/" + std::to_string(child_) + "/status");
    int64_t kilobytes = 0;
    for (std::string name; file >> name;) {
      if (name == "VmHWM:") {
        file >> kilobytes;
      }
    }
    REQUIRE(kilobytes > 0);
    return 1024 * kilobytes;
  }

 private:
  void end() {
    if (is_running()) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
      has_ended_ = true;
    }
  }

  pid_t child_ = -1;
  int input_ = -1;
  bool has_ended_ = false;
};

// A pool, its targets, and a place for what the program writes.
class Bed {
 public:
  explicit Bed(uint64_t seed, int rows = 600) {
    Random random(seed);
    for (int i = 0; i < rows; ++i) {
      texts.push_back(babble(random, 80 + random.below(700), 30 + 40 * random.below(8)));
      pool_lines.push_back(
          json{{"id", "row-" + std::to_string(i)}, {"text", texts.back()}, {"extra", i}}.dump());
    }
    for (int j = 0; j < 6; ++j) {
      targets.push_back(babble(random, 400, 50));
    }
    write("pool.jsonl", joined(pool_lines));
    std::vector<std::string> target_lines;
    for (const std::string& target : targets) {
      target_lines.push_back(json{{"text", target}}.dump());
    }
    write("targets.jsonl", joined(target_lines));
  }

  static std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) {
      text += line + "\n";
    }
    return text;
  }

  void write(const std::string& name, const std::string& text) const {
    write_file(directory / name, text);
  }
  std::string read(const std::string& name) const { return read_file(directory / name); }
  bool has(const std::string& name) const { return std::filesystem::exists(directory / name); }

  // With the directory for each {}.
  std::string filled(std::string text) const {
    for (std::size_t at; (at = text.find("{}")) != std::string::npos;) {
      text.replace(at, 2, directory.path());
    }
    return text;
  }

  // `arguments` may use shell redirection; {} is the directory.
  Outcome select(const std::string& arguments) const {
    const std::string command = std::string(ALLUVIUM_PROGRAM) + " select --threads 2 " +
                                filled(arguments) + " 2>" + (directory / "err");
    std::FILE* pipe = popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    Outcome outcome;
    std::array<char, 4096> buffer{};
    while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
      outcome.out.append(buffer.data(), n);
    }
    const int status = pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome.err = read("err");
    return outcome;
  }

  // `arguments` parted by single spaces, as select() would run them.
  Child start(const std::string& arguments) const {
    std::istringstream words("alluvium select --threads 2 " + filled(arguments));
    return Child({std::istream_iterator<std::string>(words), {}});
  }

  void write_rows(int descriptor, std::size_t rows) const {
    write_all(descriptor,
              joined({pool_lines.begin(), pool_lines.begin() + static_cast<std::ptrdiff_t>(rows)}));
  }

  // Starts the program on a pipe, writes the first `rows` rows of the pool and kills it once a checkpoint is there.
  void start_and_kill(const std::string& arguments, std::size_t rows) const {
    Child child = start(arguments);
    write_rows(child.input(), rows);
    child.kill_when_there_is(directory / "state/selection.state");
  }

  TemporaryDirectory directory;
  std::vector<std::string> texts;
  std::vector<std::string> pool_lines;
  std::vector<std::string> targets;
};

}  // namespace alluvium::tests
