#include "alluvium/memory_bank/sample_log.h"

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::LoggedSample;
using memory_bank::SampleLog;
using memory_bank::Store;

std::string listed(SampleLog& log) {
  std::string all;
  log.each([&](const LoggedSample& sample) {
    all += sample.id + "=" + sample.content + "/" + sample.state + "/" + sample.features + " ";
  });
  return all;
}

}  // namespace

TEST_CASE("sample log: keeps samples, what is learned about them, and the head, over a restart",
          "[memory_bank][store][samples]") {
  const TemporaryDirectory directory;
  const std::string bytes("\0\xff\x01", 3);
  {
    const auto store = Store::open(directory.path());
    SampleLog& log = store->samples();
    CHECK(log.head().empty());
    CHECK(listed(log).empty());
    log.commit({.head = bytes,
                .added = {{"b", "Bé", "s1", "f1"}, {"a", "A", "s2", "f2"}},
                .changed = {},
                .retired = {}});
    log.commit({.head = "second",
                .added = {{"c", "C", bytes, ""}},
                .changed = {{"a", "s3", std::nullopt}, {"b", "s4", "f4"}},
                .retired = {}});
  }
  const auto store = Store::open(directory.path());
  SampleLog& log = store->samples();
  CHECK(log.head() == "second");
  CHECK(listed(log) == "b=Bé/s4/f4 a=A/s3/f2 c=C/" + bytes + "/ ");
  log.commit({.head = "third", .added = {}, .changed = {}, .retired = {{"a", "a copy of b"}}});
  CHECK(listed(log) == "b=Bé/s4/f4 c=C/" + bytes + "/ ");
  CHECK(log.knows("a"));
  CHECK(log.knows("b"));
  CHECK_FALSE(log.knows("d"));
}

TEST_CASE("sample log: a commit that names what is not there changes nothing",
          "[memory_bank][store][samples]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  SampleLog& log = store->samples();
  log.commit({.head = "h", .added = {{"a", "A", "s", "f"}}, .changed = {}, .retired = {}});
  CHECK_THROWS_AS(log.commit({.head = "x",
                              .added = {{"b", "B", "s", "f"}, {"a", "A", "s", "f"}},
                              .changed = {},
                              .retired = {}}),
                  InvalidArgument);
  CHECK_THROWS_WITH(log.commit({.head = "x",
                                .added = {{"b", "B", "s", "f"}},
                                .changed = {{"nobody", "s", std::nullopt}},
                                .retired = {}}),
                    Catch::Contains("'nobody'"));
  CHECK_THROWS_AS(
      log.commit({.head = "x", .added = {}, .changed = {}, .retired = {{"nobody", "gone"}}}),
      InvalidArgument);
  CHECK(log.head() == "h");
  CHECK(listed(log) == "a=A/s/f ");
}

}  // namespace alluvium::tests
