#include "qa_llama_cpp.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "alluvium/core/error.h"
#include "peer_process.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::experiments {
namespace {

/// A cache folder whose peers' interpreter is the shell, for as long as the object lives.
class ShellAsPeers {
 public:
  ShellAsPeers() {
    if (const char* value = std::getenv(kVariable)) {
      before_ = value;
    }
    std::filesystem::create_directories(directory_ / "peers/bin");
    std::filesystem::create_symlink("/bin/sh", directory_ / "peers/bin/python");
    setenv(kVariable, directory_.path().c_str(), 1);
  }
  ~ShellAsPeers() { before_ ? setenv(kVariable, before_->c_str(), 1) : unsetenv(kVariable); }

  std::string script(const std::string& text) const {
    const std::string path = directory_ / "peer.sh";
    std::ofstream(path) << text;
    return path;
  }

 private:
  static constexpr const char* kVariable = "ALLUVIUM_CACHE";
  tests::TemporaryDirectory directory_;
  std::optional<std::string> before_;
};

TEST_CASE("peer: its arguments arrive as they are, and what it prints comes back",
          "[experiments][peers]") {
  const ShellAsPeers peers;
  REQUIRE(run_peer("--peer", peers.script("printf '%s|' \"$@\"; echo loud >&2"),
                   {"two words", "$HOME", "3"}) == "two words|$HOME|3|");
}

TEST_CASE("peer: missing or failing, it is named with the option that asked for it",
          "[experiments][peers]") {
  const ShellAsPeers peers;
  REQUIRE_THROWS_WITH(run_peer("--peer", "/nowhere/peer.py", {}),
                      "--peer: there is no file /nowhere/peer.py");
  REQUIRE_THROWS_WITH(run_peer("--peer", peers.script("exit 3"), {}),
                      Catch::Contains("--peer: the peer failed"));
}

TEST_CASE("llama.cpp: it is given every prompt's tokens and gives an answer for each",
          "[experiments][peers]") {
  const ShellAsPeers peers;
  // Arguments: decoder, prompts, threads, tokens. It answers only if they are what was asked.
  const std::string script = peers.script(R"sh(
[ "$1 $(cat "$2") $3 $4" = "model.gguf [[1,2],[3]] 2 8" ] || exit 1
echo '[{"text":" blue","first_token_ms":12.5,"total_ms":20,"read_tokens":2,"answer_tokens":1},
       {"text":"","first_token_ms":1,"total_ms":1,"read_tokens":1,"answer_tokens":0}]')sh");
  const std::vector<PeerAnswer> answers = ask_llama_cpp(script, "model.gguf", {{1, 2}, {3}}, 2, 8);
  REQUIRE(answers.size() == 2);
  CHECK(answers[0].text == " blue");
  CHECK(answers[0].first_token_ms == 12.5);
  CHECK(answers[0].total_ms == 20);
  CHECK(answers[0].read_tokens == 2);
  CHECK(answers[1].answer_tokens == 0);

  REQUIRE_THROWS_AS(ask_llama_cpp(peers.script("echo '[]'"), "model.gguf", {{1}}, 2, 8),
                    InvalidArgument);
}

}  // namespace
}  // namespace alluvium::experiments
