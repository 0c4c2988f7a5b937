#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::GateVerdict;
using memory_bank::LogEntry;
using memory_bank::Store;

LogEntry logged(Store& store, const Document& document) {
  LogEntry entry;
  entry.document = document;
  entry.offset = store.append_log({&entry, 1}).front();
  return entry;
}

void hold(Store& store, const std::string& id, uint64_t version, double score = 0.25) {
  Document document = make_document(id, version, "Text of " + id);
  document.metadata = {{"place", "Velde"}};
  document.valid_from_us = 77;
  store.hold_back(logged(store, document), {"zip_fit/ref", 3, score, "score is low"});
}

int64_t held(Store& store) { return store.counts({}).held_documents; }

}  // namespace

TEST_CASE("held documents: kept whole with the verdict, newest first, also after reopening",
          "[memory_bank][store][gate]") {
  const TemporaryDirectory directory;
  {
    const auto store = Store::open(directory.path());
    hold(*store, "a", 1);
    hold(*store, "b", 2, -1.5);
    CHECK(store->pending_log(0, 10).empty());
    CHECK(store->counts({}).applied_offset == 2);
  }
  const auto store = Store::open(directory.path());
  const auto all = store->held_documents(10);
  REQUIRE(all.size() == 2);
  CHECK(all[0].document.id == "b");
  CHECK(all[0].verdict.score == -1.5);
  CHECK(store->held_documents(1).size() == 1);
  const auto a = store->held_document("default", "a");
  REQUIRE(a);
  CHECK(a->document.title == "Title of a");
  CHECK(a->document.text == "Text of a");
  CHECK(a->document.version == 1);
  CHECK(a->document.valid_from_us == 77);
  CHECK(a->document.metadata.at("place") == "Velde");
  CHECK(a->verdict.selector == "zip_fit/ref");
  CHECK(a->verdict.target_version == 3);
  CHECK(a->verdict.reason == "score is low");
  CHECK(a->created_us > 0);
  CHECK(!store->held_document("other", "a"));
  CHECK(!store->find("default", "a"));
}

TEST_CASE("held documents: only the newest version is held, and never beside a newer stored one",
          "[memory_bank][store][gate]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  hold(*store, "a", 2);
  hold(*store, "a", 1);
  CHECK(store->held_document("default", "a")->document.version == 2);
  hold(*store, "a", 3, 0.5);
  CHECK(store->held_document("default", "a")->document.version == 3);
  CHECK(held(*store) == 1);

  SECTION("an older version that is stored leaves it") {
    std::vector<memory_bank::Deposit> deposits = {make_deposit(make_document("a", 2, "old"))};
    store->commit(deposits);
    CHECK(held(*store) == 1);
  }
  SECTION("the same version that is stored takes its place") {
    std::vector<memory_bank::Deposit> deposits = {make_deposit(make_document("a", 3, "same"))};
    store->commit(deposits);
    CHECK(held(*store) == 0);
    hold(*store, "a", 3);
    CHECK(held(*store) == 0);
    hold(*store, "a", 4);
    CHECK(held(*store) == 1);
  }
  SECTION("an erase takes what it covers, and its tombstone keeps it out") {
    LogEntry erase;
    erase.kind = LogEntry::Kind::erase;
    erase.document = make_document("a", 2, "");
    store->erase(erase, nullptr);
    CHECK(held(*store) == 1);
    erase.document.version = 3;
    CHECK_FALSE(store->erase(erase, nullptr));
    CHECK(held(*store) == 0);
    hold(*store, "a", 3);
    CHECK(held(*store) == 0);
  }
  SECTION("an erase of whatever there is") {
    LogEntry erase;
    erase.kind = LogEntry::Kind::erase;
    erase.document = make_document("a", 0, "");
    store->erase(erase, nullptr);
    CHECK(held(*store) == 0);
  }
}

}  // namespace alluvium::tests
