#include "alluvium/streams/line_reader.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "streams/stream_files.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::streams {
namespace {

using tests::TemporaryDirectory;

/// Bytes from memory, a few at a time.
class MemoryInput final : public ByteInput {
 public:
  MemoryInput(std::string bytes, std::size_t piece) : bytes_(std::move(bytes)), piece_(piece) {}

  std::size_t read(char* bytes, std::size_t size) override {
    const std::size_t taken = std::min({size, piece_, bytes_.size() - at_});
    std::memcpy(bytes, bytes_.data() + at_, taken);
    at_ += taken;
    return taken;
  }

 private:
  std::string bytes_;
  std::size_t piece_;
  std::size_t at_ = 0;
};

std::vector<Line> read_lines(const std::string& bytes, std::size_t limit = 1000,
                             std::size_t piece = 7) {
  LineReader reader(std::make_unique<MemoryInput>(bytes, piece), limit);
  std::vector<Line> lines;
  while (auto line = reader.next()) {
    lines.push_back(std::move(*line));
  }
  return lines;
}

std::vector<std::string> texts(const std::vector<Line>& lines) {
  std::vector<std::string> result;
  for (const Line& line : lines) {
    result.push_back(line.text);
  }
  return result;
}

TEST_CASE("line_reader: lines end at newlines and the last needs none", "[streams][line_reader]") {
  using Texts = std::vector<std::string>;
  CHECK(texts(read_lines("")).empty());
  CHECK(texts(read_lines("\n")) == Texts{""});
  CHECK(texts(read_lines("a\nbc")) == Texts{"a", "bc"});
  CHECK(texts(read_lines("a\n\nbc\n")) == Texts{"a", "", "bc"});
}

TEST_CASE("line_reader: lines are numbered from one", "[streams][line_reader]") {
  const auto lines = read_lines("a\n\nb\n");
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].number == 1);
  CHECK(lines[2].number == 3);
}

TEST_CASE("line_reader: carriage returns and a byte order mark are left out",
          "[streams][line_reader]") {
  const auto lines = read_lines(
      "\xef\xbb\xbf"
      "a\r\nb\rc\r\n\xef\xbb\xbf"
      "d");
  CHECK(texts(lines) == std::vector<std::string>{"a", "b\rc",
                                                 "\xef\xbb\xbf"
                                                 "d"});
  CHECK(lines[0].bytes == 1);
}

TEST_CASE(
    "line_reader: a line over the limit keeps its head and its length, and the next one is whole",
    "[streams][line_reader]") {
  const auto lines = read_lines("short\n" + std::string(5000, 'x') + "\nafter\n", 100);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].text == "short");
  CHECK(lines[1].text == std::string(100, 'x'));
  CHECK(lines[1].bytes == 5000);
  CHECK(lines[2].text == "after");
  CHECK(lines[2].number == 3);
}

TEST_CASE("line_reader: the pieces in which bytes arrive change nothing",
          "[streams][line_reader][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  std::string bytes(random.below(400), ' ');
  for (char& byte : bytes) {
    byte = "abc\n\r"[random.below(5)];
  }
  const auto whole = read_lines(bytes, 10, bytes.size() + 1);
  const auto pieces = read_lines(bytes, 10, 1 + random.below(5));
  CHECK(texts(pieces) == texts(whole));
}

TEST_CASE("line_reader: gzip and plain files read alike", "[streams][line_reader]") {
  const TemporaryDirectory folder;
  const std::string content = "one\ntwo\n" + std::string(700'000, 'z') + "\nend\n";
  tests::write_file(folder / "plain", content);
  tests::write_gzip(folder / "packed", content);
  for (const char* name : {"plain", "packed"}) {
    LineReader reader(open_file_input(folder / name), 1'000'000);
    CAPTURE(name);
    CHECK(reader.next()->text == "one");
    CHECK(reader.next()->text == "two");
    CHECK(reader.next()->text.size() == 700'000);
    CHECK(reader.next()->text == "end");
    CHECK_FALSE(reader.next().has_value());
    CHECK(reader.progress() == 1.0);
  }
}

TEST_CASE("line_reader: a gzip file that ends early or is damaged is reported, not cut",
          "[streams][line_reader]") {
  const TemporaryDirectory folder;
  std::string content;
  Random random(2);
  for (int i = 0; i < 20'000; ++i) {
    content += std::to_string(random.next()) + "\n";
  }
  tests::write_gzip(folder / "whole.gz", content);
  std::string packed;
  {
    LineReader unused(open_file_input(folder / "whole.gz"), 100);
    REQUIRE(unused.next().has_value());
  }
  std::ifstream file(folder / "whole.gz", std::ios::binary);
  packed.assign(std::istreambuf_iterator<char>(file), {});

  SECTION("cut in the middle") { packed.resize(packed.size() / 2); }
  SECTION("cut before the checksum") { packed.resize(packed.size() - 8); }
  SECTION("one bit flipped") { packed[packed.size() / 2] ^= 0x10; }
  tests::write_file(folder / "damaged.gz", packed);
  const auto read_all = [&] {
    LineReader reader(open_file_input(folder / "damaged.gz"), 100);
    while (reader.next()) {
    }
  };
  CHECK_THROWS_AS(read_all(), Unavailable);
  CHECK_THROWS_WITH(read_all(), Catch::Matchers::Contains("damaged gzip"));
}

TEST_CASE("line_reader: a file that is not there is the caller's mistake",
          "[streams][line_reader]") {
  CHECK_THROWS_AS(open_file_input("no/such/file"), InvalidArgument);
  CHECK_THROWS_WITH(open_file_input("no/such/file"), Catch::Matchers::Contains("no/such/file"));
}

}  // namespace
}  // namespace alluvium::streams
