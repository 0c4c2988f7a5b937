#include <memory>
#include <string>
#include <unistd.h>
#include <variant>
#include <vector>

#include "alluvium/core/error.h"
#include "streams/stream_files.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::streams {
namespace {

using Catch::Matchers::Contains;
using tests::drain_location;
using tests::TemporaryDirectory;

TEST_CASE("open_source: a place that is not there is refused by name", "[streams][open_source]") {
  CHECK_THROWS_AS(open_source("no/such/place"), InvalidArgument);
  CHECK_THROWS_WITH(open_source("no/such/place"), Contains("no/such/place"));
  CHECK_THROWS_AS(open_source("debian-changelogs:no/such/place"), InvalidArgument);
  CHECK_THROWS_AS(open_source(""), InvalidArgument);
}

TEST_CASE("open_source: an unknown kind of file is refused with the known kinds",
          "[streams][open_source]") {
  const TemporaryDirectory folder;
  tests::write_file(folder / "table.csv", "a,b\n");
  CHECK_THROWS_WITH(open_source(folder / "table.csv"),
                    Contains("table.csv") && Contains(".jsonl.gz"));
}

TEST_CASE("open_source: a single text file is one document named after it",
          "[streams][open_source]") {
  const TemporaryDirectory folder;
  tests::write_file(folder / "notes.md", "# Notes\n\nbody");
  const auto drained = drain_location(folder / "notes.md");
  REQUIRE(drained.documents.size() == 1);
  CHECK(drained.documents[0].document.id == "notes.md");
  CHECK(drained.documents[0].document.title == "Notes");
}

TEST_CASE("open_source: packed JSONL is read like plain", "[streams][open_source]") {
  const TemporaryDirectory folder;
  tests::write_gzip(folder / "a.jsonl.gz",
                    "{\"id\":1,\"text\":\"t\"}\n{\"id\":2,\"text\":\"t\"}\n");
  CHECK(drain_location(folder / "a.jsonl.gz").ids() == std::vector<std::string>{"1", "2"});
}

TEST_CASE("open_source: a limit counts documents, not bad lines", "[streams][open_source]") {
  const TemporaryDirectory folder;
  tests::write_file(
      folder / "a.jsonl",
      "{\"id\":1,\"text\":\"t\"}\nbad\n{\"id\":2,\"text\":\"t\"}\n{\"id\":3,\"text\":\"t\"}\n");
  SourceOptions options;
  options.max_documents = 2;
  const auto drained = drain_location(folder / "a.jsonl", options);
  CHECK(drained.ids() == std::vector<std::string>{"1", "2"});
  CHECK(drained.bad.size() == 1);
}

TEST_CASE("open_source: progress runs from nothing to all", "[streams][open_source]") {
  const TemporaryDirectory folder;
  for (const char* name : {"a.txt", "b.txt", "c.txt", "d.txt"}) {
    tests::write_file(folder / name, "text");
  }
  const auto source = open_source(folder.path());
  CHECK(source->progress() == 0.0);
  source->next();
  CHECK(source->progress() == 0.25);
  tests::drain(*source);
  CHECK(source->progress() == 1.0);
}

/// Standard input from a pipe while it lives.
class PipedStandardInput {
 public:
  PipedStandardInput() : saved_(::dup(STDIN_FILENO)) {
    REQUIRE(::pipe(ends_) == 0);
    REQUIRE(::dup2(ends_[0], STDIN_FILENO) == STDIN_FILENO);
  }
  ~PipedStandardInput() {
    ::dup2(saved_, STDIN_FILENO);
    ::close(saved_);
    ::close(ends_[0]);
    close_writer();
  }
  PipedStandardInput(const PipedStandardInput&) = delete;
  PipedStandardInput& operator=(const PipedStandardInput&) = delete;

  void write(const std::string& text) {
    REQUIRE(::write(ends_[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void close_writer() {
    if (ends_[1] >= 0) {
      ::close(ends_[1]);
      ends_[1] = -1;
    }
  }

 private:
  int saved_;
  int ends_[2] = {-1, -1};
};

TEST_CASE("open_source: documents on standard input come out while the writer goes on",
          "[streams][open_source]") {
  PipedStandardInput input;
  const auto source = open_source("-");
  CHECK_FALSE(source->progress().has_value());
  for (const char* id : {"1", "2"}) {
    input.write(std::string("{\"id\":\"") + id + "\",\"text\":\"t\"}\n");
    const auto item = source->next();
    REQUIRE(item.has_value());
    CHECK(std::get<Envelope>(*item).document.id == id);
    CHECK(std::get<Envelope>(*item).source == "-");
  }
  input.close_writer();
  CHECK_FALSE(source->next().has_value());
}

}  // namespace
}  // namespace alluvium::streams
