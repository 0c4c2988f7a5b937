#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "streams/stream_files.h"
#include "support/catch.h"
#include "support/paths.h"
#include "text_file.h"

namespace alluvium::streams {
namespace {

using tests::drain_location;
using tests::TemporaryDirectory;
using tests::write_file;

TEST_CASE("directory: text and Markdown files come in the order of their paths",
          "[streams][directory]") {
  const TemporaryDirectory folder;
  write_file(folder / "b.txt", "second");
  write_file(folder / "a/z.md", "first");
  write_file(folder / "c/deep/er/x.txt", "third");
  write_file(folder / "picture.png", "not a text");
  write_file(folder / ".hidden/h.txt", "hidden");
  write_file(folder / ".h.txt", "hidden");
  const auto drained = drain_location(folder.path());
  CHECK(drained.ids() == std::vector<std::string>{"a/z.md", "b.txt", "c/deep/er/x.txt"});
  CHECK(drained.bad.empty());
  CHECK(drained.documents[0].document.text == "first");
  CHECK(open_source(folder.path())->expected_documents() == 3);
}

TEST_CASE("directory: an empty folder has no documents", "[streams][directory]") {
  const TemporaryDirectory folder;
  const auto source = open_source(folder.path());
  CHECK(source->expected_documents() == 0);
  CHECK_FALSE(source->next().has_value());
  CHECK(source->progress() == 1.0);
}

TEST_CASE("directory: titles come from the first heading, else from the file's name",
          "[streams][directory]") {
  const TemporaryDirectory folder;
  write_file(folder / "a.md", "intro\n\n## The heading ##\n\nbody\n");
  write_file(folder / "b.md", "no heading here");
  write_file(folder / "c.txt", "# not Markdown");
  const auto drained = drain_location(folder.path());
  REQUIRE(drained.documents.size() == 3);
  CHECK(drained.documents[0].document.title == "The heading");
  CHECK(drained.documents[1].document.title == "b.md");
  CHECK(drained.documents[2].document.title == "c.txt");
}

TEST_CASE("directory: headings inside code and lines that only look like one do not count",
          "[streams][directory]") {
  CHECK(first_heading("# One") == "One");
  CHECK(first_heading("###### Six\r\n") == "Six");
  CHECK_FALSE(first_heading("####### seven").has_value());
  CHECK_FALSE(first_heading("#hashtag").has_value());
  CHECK_FALSE(first_heading("#").has_value());
  CHECK_FALSE(first_heading("").has_value());
  CHECK(first_heading("```\n# code\n```\n# Real\n") == "Real");
  CHECK(first_heading("# C#\n") == "C");
}

TEST_CASE("directory: validity starts at the file's modification", "[streams][directory]") {
  const TemporaryDirectory folder;
  write_file(folder / "a.txt", "text");
  namespace fs = std::filesystem;
  const auto epoch =
      fs::file_time_type::clock::now() - std::chrono::system_clock::now().time_since_epoch();
  fs::last_write_time(folder / "a.txt", epoch + std::chrono::seconds(1'000'000'000));
  const auto drained = drain_location(folder.path());
  REQUIRE(drained.documents.size() == 1);
  // The file clock's epoch is estimated from two clock reads.
  CHECK(std::abs(drained.documents[0].document.valid_from_us - 1'000'000'000'000'000) < 1'000'000);
}

TEST_CASE("directory: empty, malformed and oversized files are bad records",
          "[streams][directory]") {
  const TemporaryDirectory folder;
  write_file(folder / "1.txt", "");
  write_file(folder / "2.txt", "caf\xe9");
  write_file(folder / "3.txt", std::string(65, 'x'));
  write_file(folder / "4.txt", "good");
  SourceOptions options;
  options.limits.text_bytes = 64;
  const auto drained = drain_location(folder.path(), options);
  CHECK(drained.ids() == std::vector<std::string>{"4.txt"});
  REQUIRE(drained.bad.size() == 3);
  CHECK_THAT(drained.bad[0].reason, Catch::Matchers::Contains("text must not be empty"));
  CHECK(drained.bad[1].reason == "text is not UTF-8 at byte 3");
  CHECK(drained.bad[1].content == "caf\ufffd");
  CHECK(drained.bad[2].reason == "text has 65 bytes, the limit is 64");
  CHECK_THAT(drained.bad[2].source, Catch::Matchers::EndsWith("3.txt"));
}

TEST_CASE("directory: a file that vanishes after listing is a bad record", "[streams][directory]") {
  const TemporaryDirectory folder;
  write_file(folder / "a.txt", "one");
  write_file(folder / "b.txt", "two");
  const auto source = open_source(folder.path());
  std::filesystem::remove(folder / "a.txt");
  const auto drained = tests::drain(*source);
  CHECK(drained.ids() == std::vector<std::string>{"b.txt"});
  REQUIRE(drained.bad.size() == 1);
  CHECK_THAT(drained.bad[0].reason, Catch::Matchers::Contains("cannot read"));
}

TEST_CASE("directory: a link in a circle ends", "[streams][directory]") {
  const TemporaryDirectory folder;
  write_file(folder / "a/x.txt", "one");
  std::filesystem::create_directory_symlink(folder.path(), folder / "a/loop");
  CHECK(drain_location(folder.path()).ids() == std::vector<std::string>{"a/x.txt"});
}

}  // namespace
}  // namespace alluvium::streams
