#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::LogEntry;
using memory_bank::Store;

LogEntry entry_of(const std::string& id, const std::string& session = "", uint64_t sequence = 0) {
  LogEntry entry;
  entry.document = make_document(id, 1, "Text of " + id);
  entry.document.valid_from_us = 77;
  entry.document.metadata = {{"a", "1"}, {"empty", ""}, {"", "no key"}};
  entry.session = session;
  entry.sequence = sequence;
  return entry;
}

std::vector<int64_t> log(Store& store, const std::vector<LogEntry>& entries) {
  return store.append_log(entries);
}

}  // namespace

TEST_CASE("ingest log: entries come back whole, in order, also after reopening",
          "[memory_bank][store][log]") {
  const TemporaryDirectory directory;
  {
    const auto store = Store::open(directory.path());
    LogEntry erase;
    erase.kind = LogEntry::Kind::erase;
    erase.document = make_document("gone", 9, "");
    erase.gated = false;
    CHECK(log(*store, {entry_of("a", "s", 5), erase}) == std::vector<int64_t>{1, 2});
  }
  const auto store = Store::open(directory.path());
  const auto pending = store->pending_log(0, 10);
  REQUIRE(pending.size() == 2);
  CHECK(pending[0].offset == 1);
  CHECK(pending[0].kind == LogEntry::Kind::put);
  CHECK(pending[0].document.id == "a");
  CHECK(pending[0].document.title == "Title of a");
  CHECK(pending[0].document.text == "Text of a");
  CHECK(pending[0].document.valid_from_us == 77);
  CHECK(pending[0].document.metadata == entry_of("a").document.metadata);
  CHECK(pending[0].session == "s");
  CHECK(pending[0].sequence == 5);
  CHECK(pending[0].gated);
  CHECK_FALSE(pending[1].gated);
  CHECK(pending[1].kind == LogEntry::Kind::erase);
  CHECK(pending[1].document.version == 9);
  CHECK(store->pending_log(1, 10).size() == 1);
  CHECK(store->pending_log(0, 1).size() == 1);
  CHECK(store->pending_log(2, 10).empty());
}

TEST_CASE("ingest log: a sequence of a session is logged once", "[memory_bank][store][log]") {
  const TemporaryDirectory directory;
  auto store = Store::open(directory.path());
  CHECK(store->last_sequence("s") == 0);
  CHECK(log(*store, {entry_of("a", "s", 1), entry_of("b", "s", 2), entry_of("b", "s", 2)}) ==
        std::vector<int64_t>{1, 2, 0});
  store = nullptr;
  store = Store::open(directory.path());
  CHECK(store->last_sequence("s") == 2);
  CHECK(log(*store, {entry_of("a", "s", 1), entry_of("c", "s", 3), entry_of("d", "t", 1)}) ==
        std::vector<int64_t>{0, 3, 4});
  // Without a session there is no sequence to compare.
  CHECK(log(*store, {entry_of("e"), entry_of("e")}) == std::vector<int64_t>{5, 6});
}

TEST_CASE("ingest log: offsets are not used again, and applied means all below are done",
          "[memory_bank][store][log]") {
  const TemporaryDirectory directory;
  auto store = Store::open(directory.path());
  log(*store, {entry_of("a"), entry_of("b"), entry_of("c")});
  const auto counts = [&] { return store->counts(bank_fingerprint()); };
  CHECK(counts().logged_offset == 3);
  CHECK(counts().applied_offset == 0);
  CHECK(counts().pending == 3);

  const auto second = make_deposit(make_document("b", 1, "Text of b"), 2);
  store->commit({&second, 1});
  CHECK(counts().applied_offset == 0);
  CHECK(counts().pending == 2);

  store->reject(store->pending_log(0, 1).at(0), "not for us");
  CHECK(counts().applied_offset == 2);
  CHECK(counts().dead_letters == 1);
  const auto letter = store->dead_letters(1).at(0);
  CHECK(letter.line == 1);
  CHECK(letter.content == "Text of a");
  CHECK(letter.reason.find("not for us") != std::string::npos);

  const auto third = make_deposit(make_document("c", 1, "Text of c"), 3);
  store->commit({&third, 1});
  CHECK(counts().applied_offset == 3);
  CHECK(counts().pending == 0);
  store = nullptr;
  store = Store::open(directory.path());
  CHECK(log(*store, {entry_of("d")}) == std::vector<int64_t>{4});
}

TEST_CASE("dead letters: newest first, cut at 4,096 bytes, always UTF-8",
          "[memory_bank][store][log]") {
  const TemporaryDirectory directory;
  ManualClock clock(1234);
  memory_bank::StoreOptions options;
  options.clock = &clock;
  const auto store = Store::open(directory.path(), options);
  store->add_dead_letter({"file.jsonl", 3, "bad JSON", std::string(5000, 'x'), 0});
  store->add_dead_letter({"file.jsonl", 4, "bad UTF-8", "ab\xff", 99});
  const auto letters = store->dead_letters(10);
  REQUIRE(letters.size() == 2);
  CHECK(letters[0].line == 4);
  CHECK(letters[0].created_us == 99);
  CHECK(letters[0].content == "ab\xef\xbf\xbd");
  CHECK(letters[1].content.size() == 4096);
  CHECK(letters[1].created_us == 1234);
  CHECK(letters[1].source == "file.jsonl");
  CHECK(store->dead_letters(1).size() == 1);
}

}  // namespace alluvium::tests
