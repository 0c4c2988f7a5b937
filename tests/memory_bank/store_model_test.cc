#include <algorithm>
#include <map>

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::CommitOutcome;
using memory_bank::Deposit;
using memory_bank::LogEntry;
using memory_bank::Store;
using memory_bank::StoreOptions;

/// The store's promises in the plainest form.
struct Model {
  std::map<std::string, Document> documents;
  std::map<std::string, uint64_t> tombstones;
  int64_t logged = 0;

  CommitOutcome put(const Document& document) {
    const auto there = documents.find(document.id);
    const uint64_t stored = there == documents.end() ? 0 : there->second.version;
    if (document.version <= std::max(stored, tombstones[document.id])) {
      return CommitOutcome::stale;
    }
    tombstones.erase(document.id);
    documents[document.id] = document;
    return CommitOutcome::stored;
  }

  bool erase(const std::string& id, uint64_t version) {
    const auto there = documents.find(id);
    if (there != documents.end() && there->second.version > version) {
      return false;
    }
    tombstones[id] = std::max(tombstones[id], version);
    return documents.erase(id) > 0;
  }
};

void check_against(Store& store, const Model& model) {
  const auto counts = store.counts(bank_fingerprint());
  REQUIRE(counts.documents == static_cast<int64_t>(model.documents.size()));
  CHECK(counts.logged_offset == model.logged);
  CHECK(counts.pending == 0);
  CHECK(counts.memories == counts.chunks);
  for (const auto& [id, document] : model.documents) {
    CAPTURE(id);
    const auto read = store.read_document("default", id);
    REQUIRE(read);
    CHECK(read->version == document.version);
    CHECK(read->text == document.text);
    const int64_t row = store.find("default", id)->row;
    const auto memory = store.load_memory(store.chunks(row).at(0).row, bank_fingerprint());
    REQUIRE(memory != nullptr);
    CHECK(same_memory(*memory, make_deposit(document).memories[0]));
    const auto hits =
        store.search_text("default", "unique" + id + fmt::format("v{}", document.version), 5, 0);
    REQUIRE(hits.size() == 1);
    CHECK(hits[0].document_row == row);
  }
}

}  // namespace

TEST_CASE("store: random operations with restarts agree with a map",
          "[memory_bank][store][property]") {
  const auto seed = GENERATE(range(0U, 6U));
  CAPTURE(seed);
  Random random(seed);
  const TemporaryDirectory directory;
  StoreOptions options;
  options.segment_bytes = 2000;  // a few records a file
  auto store = Store::open(directory.path(), options);
  Model model;
  for (int step = 0; step < 60; ++step) {
    LogEntry entry;
    const std::string id = std::to_string(random.below(8));
    const uint64_t version = 1 + random.below(12);
    entry.document = make_document(id, version, "unique" + id + fmt::format("v{}", version));
    const uint64_t choice = random.below(20);
    if (choice < 12) {
      entry.offset = store->append_log({&entry, 1}).at(0);
      model.logged = entry.offset;
      const Deposit deposit = make_deposit(entry.document, entry.offset);
      CHECK(store->commit({&deposit, 1}).at(0) == model.put(entry.document));
    } else if (choice < 16) {
      entry.kind = LogEntry::Kind::erase;
      entry.offset = store->append_log({&entry, 1}).at(0);
      model.logged = entry.offset;
      CHECK(store->erase(entry, nullptr) == model.erase(id, version));
    } else if (choice < 18) {
      store->compact(random.uniform());
    } else {
      store = nullptr;
      store = Store::open(directory.path(), options);
    }
  }
  check_against(*store, model);
  store = nullptr;
  store = Store::open(directory.path(), options);
  check_against(*store, model);
  CHECK(store->verify().empty());
}

}  // namespace alluvium::tests
