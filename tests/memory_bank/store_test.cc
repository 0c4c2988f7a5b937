#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::CommitOutcome;
using memory_bank::Deposit;
using memory_bank::DocumentKeys;
using memory_bank::LogEntry;
using memory_bank::Store;

CommitOutcome put(Store& store, const std::string& id, uint64_t version, const std::string& text,
                  const std::string& name_space = "default") {
  const Deposit deposit = make_deposit(make_document(id, version, text, name_space));
  return store.commit({&deposit, 1}).at(0);
}

int64_t erase(Store& store, const std::string& id, uint64_t version) {
  LogEntry entry;
  entry.kind = LogEntry::Kind::erase;
  entry.document.id = id;
  entry.document.version = version;
  int64_t row = 0;
  const bool was_there = store.erase(entry, &row);
  CHECK(was_there == (row != 0));
  return row;
}

}  // namespace

TEST_CASE("store: a document comes back as it was given", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  ManualClock clock(5000);
  memory_bank::StoreOptions options;
  options.clock = &clock;
  Document document = make_document("a/b c", 3, std::string("text with \0 inside", 18));
  document.valid_from_us = -5;
  document.metadata = {{"k", "v"}};
  {
    const auto store = Store::open(directory.path(), options);
    const Deposit deposit = make_deposit(document);
    CHECK(store->commit({&deposit, 1}).at(0) == CommitOutcome::stored);
  }
  const auto store = Store::open(directory.path(), options);
  const auto read = store->read_document("default", "a/b c");
  REQUIRE(read);
  CHECK(read->text == document.text);
  CHECK(read->title == document.title);
  CHECK(read->version == 3);
  CHECK(read->valid_from_us == -5);
  CHECK(read->metadata == document.metadata);
  const auto summary = store->find("default", "a/b c");
  REQUIRE(summary);
  CHECK(summary->text_bytes == 18);
  CHECK(summary->chunks == 1);
  CHECK(summary->tokens == make_deposit(document).memories[0].length());
  CHECK(summary->memory_bytes > 0);
  CHECK(summary->created_us == 5000);
  CHECK(store->summary(summary->row)->id == "a/b c");
  CHECK(store->read_document(summary->row)->text == document.text);
  CHECK_FALSE(store->read_document("default", "other"));
  CHECK_FALSE(store->find("other", "a/b c"));
  CHECK_FALSE(store->summary(999));
}

TEST_CASE("store: a higher version replaces everything of the lower one", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  CHECK(put(*store, "a", 2, "The old capital is Bonn.") == CommitOutcome::stored);
  const int64_t row = store->find("default", "a")->row;
  const int64_t chunk = store->chunks(row).at(0).row;
  CHECK(put(*store, "a", 2, "Same version.") == CommitOutcome::stale);
  CHECK(put(*store, "a", 1, "Lower version.") == CommitOutcome::stale);
  CHECK(put(*store, "a", 5, "The new capital is Berlin.") == CommitOutcome::stored);
  CHECK(store->find("default", "a")->row == row);
  CHECK(store->find("default", "a")->version == 5);
  CHECK(store->read_document(row)->text == "The new capital is Berlin.");
  CHECK(store->search_text("default", "Bonn", 10, 0).empty());
  CHECK(store->search_text("default", "Berlin", 10, 0).size() == 1);
  CHECK(store->load_memory(chunk, bank_fingerprint()) == nullptr);
  const auto chunks = store->chunks(row);
  REQUIRE(chunks.size() == 1);
  CHECK(chunks[0].row != chunk);  // a chunk's row is never used again: caches are keyed by it
  CHECK(store->load_memory(chunks[0].row, bank_fingerprint()) != nullptr);
  CHECK(store->counts(bank_fingerprint()).documents == 1);
}

TEST_CASE("store: an erased document leaves only its tombstone", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  put(*store, "a", 2, "Something about otters.");
  const int64_t row = store->find("default", "a")->row;
  CHECK(erase(*store, "a", 1) == 0);  // older than what is there
  CHECK(store->find("default", "a"));
  CHECK(erase(*store, "a", 3) == row);
  CHECK(erase(*store, "a", 3) == 0);
  CHECK_FALSE(store->find("default", "a"));
  CHECK(store->search_text("default", "otters", 10, 0).empty());
  CHECK(store->chunks(row).empty());
  const auto counts = store->counts(bank_fingerprint());
  CHECK(counts.documents == 0);
  CHECK(counts.chunks == 0);
  CHECK(counts.keys == 0);
  CHECK(counts.memory_bytes == 0);
  CHECK(counts.tombstones == 1);
  CHECK(put(*store, "a", 3, "A replay.") == CommitOutcome::stale);
  CHECK(put(*store, "a", 4, "A new one.") == CommitOutcome::stored);
  CHECK(store->find("default", "a")->row != row);
  CHECK(store->counts(bank_fingerprint()).tombstones == 0);
}

TEST_CASE("store: an erase of version 0 removes what is there, whatever its version",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  put(*store, "a", 7, "Text.");
  CHECK(erase(*store, "a", 0) != 0);
  CHECK(put(*store, "a", 7, "Text.") == CommitOutcome::stale);
  CHECK(erase(*store, "never seen", 0) == 0);
  CHECK(store->counts(bank_fingerprint()).tombstones == 1);
  CHECK(erase(*store, "not yet seen", 4) == 0);
  CHECK(put(*store, "not yet seen", 4, "Late.") == CommitOutcome::stale);
}

TEST_CASE("store: several versions in one batch are taken in order", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  const std::vector<Deposit> deposits = {
      make_deposit(make_document("a", 1, "one")), make_deposit(make_document("a", 3, "three")),
      make_deposit(make_document("a", 2, "two")), make_deposit(make_document("b", 1, "other"))};
  CHECK((store->commit(deposits) ==
         std::vector<CommitOutcome>{CommitOutcome::stored, CommitOutcome::stored,
                                    CommitOutcome::stale, CommitOutcome::stored}));
  CHECK(store->read_document("default", "a")->text == "three");
  const int64_t row = store->find("default", "a")->row;
  const auto memory = store->load_memory(store->chunks(row).at(0).row, bank_fingerprint());
  REQUIRE(memory != nullptr);
  CHECK(same_memory(*memory, deposits[1].memories[0]));
  CHECK(store->verify().empty());
}

TEST_CASE("store: lists go through a namespace page by page", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  for (const char* id : {"c", "a", "b"}) {
    put(*store, id, 1, "text", "two");
    put(*store, id, 1, "text", "one");
  }
  const auto first = store->list("one", "", 2);
  REQUIRE(first.size() == 2);
  CHECK(first[0].id == "a");
  CHECK(first[1].id == "b");
  const auto rest = store->list("one", "b", 2);
  REQUIRE(rest.size() == 1);
  CHECK(rest[0].id == "c");
  const auto all = store->list("", "z", 100);
  REQUIRE(all.size() == 6);
  CHECK(all[0].name_space == "one");
  CHECK(all[5].name_space == "two");
  CHECK(all[5].id == "c");
}

TEST_CASE("store: keys belong to the encoder that made them", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  put(*store, "a", 1, "text");
  put(*store, "b", 1, "text", "other");
  const Digest old_encoder = TableEncoder(4).fingerprint();
  const Digest new_encoder = sha256("new encoder");
  std::vector<DocumentKeys> seen;
  const auto collect = [&](const DocumentKeys& keys) { seen.push_back(keys); };
  store->each_keys(old_encoder, collect);
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].keys == std::vector<float>{1, 0, 0, 0});
  CHECK(seen[1].name_space == "other");
  CHECK(store->documents_without_keys(old_encoder, 0, 10).empty());
  const auto missing = store->documents_without_keys(new_encoder, 0, 10);
  REQUIRE(missing.size() == 2);
  CHECK(store->documents_without_keys(new_encoder, missing[0], 10).size() == 1);

  const std::vector<float> keys = {0, 1, 1, 0};
  CHECK(store->replace_keys(missing[0], new_encoder, keys, 2));
  CHECK_FALSE(store->replace_keys(999, new_encoder, keys, 2));
  CHECK_THROWS_AS(store->replace_keys(missing[0], new_encoder, keys, 3), InvalidArgument);
  seen.clear();
  store->each_keys(new_encoder, collect);
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].document_row == missing[0]);
  CHECK(seen[0].keys == keys);
  CHECK(store->counts(bank_fingerprint()).keys == 3);
}

TEST_CASE("store: a deposit whose parts do not fit together is refused", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  Deposit deposit = make_deposit(make_document("a", 1, "text"));
  SECTION("memories") { deposit.memories.push_back(deposit.memories[0]); }
  SECTION("keys") { deposit.keys.pop_back(); }
  SECTION("dimension") { deposit.key_dimension = 0; }
  CHECK_THROWS_AS(store->commit({&deposit, 1}), InvalidArgument);
  CHECK_FALSE(store->find("default", "a"));
}

}  // namespace alluvium::tests
