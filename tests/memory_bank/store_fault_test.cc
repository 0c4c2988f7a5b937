#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "faulty_file_system.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::CommitOutcome;
using memory_bank::Deposit;
using memory_bank::LogEntry;
using memory_bank::SqliteStore;
using memory_bank::StoreSeams;

LogEntry entry_of(const Document& document) {
  LogEntry entry;
  entry.document = document;
  return entry;
}

}  // namespace

TEST_CASE("full disk: a batch whose records do not fit changes nothing and goes in later",
          "[memory_bank][store][fault]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  SqliteStore store(directory.path(), {}, StoreSeams{&files, 0});
  const std::vector<LogEntry> entries = {entry_of(make_document("a", 1, "First.")),
                                         entry_of(make_document("b", 1, "Second."))};
  const auto offsets = store.append_log(entries);
  const std::vector<Deposit> deposits = {make_deposit(entries[0].document, offsets[0]),
                                         make_deposit(entries[1].document, offsets[1])};
  SECTION("torn in the first record") {
    files.faults.bytes_left = 64 + 100;
    CHECK_THROWS_AS(store.commit(deposits), ResourceExhausted);
  }
  SECTION("torn in the second record") {
    files.faults.bytes_left = 1000;
    CHECK_THROWS_AS(store.commit(deposits), ResourceExhausted);
  }
  SECTION("no room for the file's header") {
    files.faults.bytes_left = 0;
    CHECK_THROWS_AS(store.commit(deposits), ResourceExhausted);
  }
  SECTION("the sync fails") {
    files.faults.syncs_to_fail = 1;
    CHECK_THROWS_AS(store.commit(deposits), Unavailable);
  }
  CHECK_FALSE(store.find("default", "a"));
  CHECK_FALSE(store.find("default", "b"));
  CHECK(store.pending_log(0, 10).size() == 2);

  files.faults = {};
  CHECK((store.commit(deposits) ==
         std::vector<CommitOutcome>{CommitOutcome::stored, CommitOutcome::stored}));
  CHECK(store.pending_log(0, 10).empty());
  CHECK(store.verify().empty());
  const int64_t chunk = store.chunks(store.find("default", "b")->row).at(0).row;
  CHECK(same_memory(*store.load_memory(chunk, bank_fingerprint()), deposits[1].memories[0]));
}

TEST_CASE("full disk: compaction stops, loses nothing and is finished later",
          "[memory_bank][store][fault]") {
  const TemporaryDirectory directory;
  FaultyFileSystem files;
  memory_bank::StoreOptions options;
  options.segment_bytes = 16384;  // a round moves one record
  SqliteStore store(directory.path(), options, StoreSeams{&files, 0});
  std::vector<Deposit> deposits;
  for (int i = 0; i < 12; ++i) {
    deposits.push_back(
        make_deposit(make_document(fmt::format("d{}", i), 1, fmt::format("Text {}", i))));
  }
  store.commit(deposits);
  const auto erase = [&](int i) {
    LogEntry entry;
    entry.kind = LogEntry::Kind::erase;
    entry.document.id = fmt::format("d{}", i);
    entry.document.version = 1;
    store.erase(entry, nullptr);
  };
  for (int i = 0; i < 12; i += 2) {
    erase(i);
  }
  const auto check_all = [&] {
    for (int i = 1; i < 12; i += 2) {
      CAPTURE(i);
      const int64_t chunk =
          store.chunks(store.find("default", fmt::format("d{}", i))->row).at(0).row;
      const auto memory = store.load_memory(chunk, bank_fingerprint());
      REQUIRE(memory);
      CHECK(same_memory(*memory, deposits[static_cast<std::size_t>(i)].memories[0]));
    }
    CHECK(store.verify().empty());
  };
  SECTION("in the third record") {
    files.faults.bytes_left = 2000;
    CHECK_THROWS_AS(store.compact(1.0), ResourceExhausted);
  }
  SECTION("at the first sync") {
    files.faults.syncs_to_fail = 1;
    CHECK_THROWS_AS(store.compact(1.0), Unavailable);
  }
  check_all();

  files.faults = {};
  CHECK(store.compact(1.0) > 0);
  check_all();
  CHECK(store.compact(1.0) == 0);
}

TEST_CASE("full disk: a full database refuses the log, keeps what it has and goes on",
          "[memory_bank][store][fault]") {
  const TemporaryDirectory directory;
  constexpr int64_t kPages = 60;
  int64_t logged = 0;
  {
    SqliteStore store(directory.path(), {}, StoreSeams{nullptr, kPages});
    const auto log_until_full = [&] {
      while (true) {
        const LogEntry entry =
            entry_of(make_document(fmt::format("d{}", logged), 1, std::string(3000, 'x')));
        store.append_log({&entry, 1});
        ++logged;
      }
    };
    CHECK_THROWS_AS(log_until_full(), ResourceExhausted);
    REQUIRE(logged > 0);
    CHECK(static_cast<int64_t>(store.pending_log(0, 1000).size()) == logged);
    // A document that does not fit leaves no trace, and its records' space is used again.
    const Deposit large = make_deposit(make_document("large", 1, std::string(400000, 'y')));
    CHECK_THROWS_AS(store.commit({&large, 1}), ResourceExhausted);
    CHECK_FALSE(store.find("default", "large"));
    CHECK(store.verify().empty());
    // Applying what is logged frees room.
    store.reject(store.pending_log(0, 1).at(0), "making room");
  }
  SqliteStore store(directory.path(), {}, {});
  CHECK(static_cast<int64_t>(store.pending_log(0, 1000).size()) == logged - 1);
  const LogEntry entry = entry_of(make_document("next", 1, "fits again"));
  CHECK(store.append_log({&entry, 1}).at(0) == logged + 1);
}

}  // namespace alluvium::tests
