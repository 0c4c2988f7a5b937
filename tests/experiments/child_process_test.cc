#include "child_process.h"

#include <chrono>
#include <fstream>
#include <thread>

#include "alluvium/core/error.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::experiments {
namespace {

void wait_for(ChildProcess& child) {
  while (child.is_running()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

ChildProcess shell(const std::string& script, const tests::TemporaryDirectory& directory) {
  return ChildProcess({"/bin/sh", "-c", script}, directory / "log");
}

TEST_CASE("child process: what it wrote, its exit code and what it used are known",
          "[experiments][process]") {
  const tests::TemporaryDirectory directory;
  ChildProcess child =
      shell("i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo out; echo err >&2; exit 3",
            directory);
  wait_for(child);
  CHECK(child.exit_code() == 3);
  CHECK(child.log_tail() == "out\nerr\n");
  CHECK(child.processor_seconds() > 0);
  CHECK(child.peak_rss_bytes() > 100'000);
  child.kill();  // of no effect
  CHECK(child.exit_code() == 3);
}

TEST_CASE("child process: killed it is gone, asked to stop it may end in its own way",
          "[experiments][process]") {
  const tests::TemporaryDirectory directory;
  ChildProcess killed = shell("while :; do sleep 0.01; done", directory);
  CHECK(killed.is_running());
  killed.kill();
  CHECK_FALSE(killed.is_running());
  CHECK(killed.exit_code() == -1);

  ChildProcess asked =
      shell("trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done", directory);
  while (asked.log_tail().find("ready") == std::string::npos) {
    REQUIRE(asked.is_running());
  }
  asked.ask_to_stop();
  wait_for(asked);
  CHECK(asked.exit_code() == 4);
}

TEST_CASE("child process: how far it has read a file", "[experiments][process]") {
  const tests::TemporaryDirectory directory;
  const std::string file = directory / "file";
  std::ofstream(file) << "one\ntwo\nthree\n";
  ChildProcess child =
      shell("exec 3<'" + file + "'; cat <&3 >/dev/null; echo read; while :; do sleep 0.01; done",
            directory);
  while (child.log_tail().find("read") == std::string::npos) {
    REQUIRE(child.is_running());
  }
  CHECK(child.bytes_read_of(file) == 14);
  CHECK(child.bytes_read_of(directory / "absent") == 0);
  child.kill();
  CHECK(child.bytes_read_of(file) == 0);
}

TEST_CASE("child process: a program that is not there", "[experiments][process]") {
  const tests::TemporaryDirectory directory;
  CHECK_THROWS_AS(ChildProcess({directory / "absent"}, directory / "log"), Unavailable);
}

}  // namespace
}  // namespace alluvium::experiments
