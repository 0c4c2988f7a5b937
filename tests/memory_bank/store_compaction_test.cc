#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::Deposit;
using memory_bank::LogEntry;
using memory_bank::Memory;
using memory_bank::Store;

void put(Store& store, const std::string& id, const std::string& text, uint64_t version = 1) {
  const Deposit deposit = make_deposit(make_document(id, version, text));
  store.commit({&deposit, 1});
}

void erase(Store& store, const std::string& id, uint64_t version = 1) {
  LogEntry entry;
  entry.kind = LogEntry::Kind::erase;
  entry.document.id = id;
  entry.document.version = version;
  store.erase(entry, nullptr);
}

std::shared_ptr<const Memory> load(Store& store, const std::string& id) {
  const auto chunks = store.chunks(store.find("default", id)->row);
  return store.load_memory(chunks.at(0).row, bank_fingerprint());
}

std::string numbered(int number) { return fmt::format("d{}", number); }

}  // namespace

TEST_CASE("compaction: dead records go, live ones keep their bits", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  memory_bank::StoreOptions options;
  options.segment_bytes = 4096;
  auto store = Store::open(directory.path(), options);
  for (int i = 0; i < 40; ++i) {
    put(*store, numbered(i), fmt::format("Text number {}", i));
  }
  std::map<int, std::shared_ptr<const Memory>> before;
  for (int i = 0; i < 40; ++i) {
    if (i % 4 == 0) {
      before[i] = load(*store, numbered(i));
    } else {
      erase(*store, numbered(i));
    }
  }
  CHECK(store->compact(0.5) > 0);
  CHECK(store->compact(0.5) == 0);
  const auto check_all = [&] {
    for (const auto& [number, memory] : before) {
      CAPTURE(number);
      const auto loaded = load(*store, numbered(number));
      REQUIRE(loaded != nullptr);
      CHECK(same_memory(*loaded, *memory));
    }
    CHECK(store->verify().empty());
  };
  check_all();
  store = nullptr;
  store = Store::open(directory.path(), options);
  check_all();
}

TEST_CASE("compaction: a segment with a larger live share stays", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  for (int i = 0; i < 4; ++i) {
    put(*store, numbered(i), fmt::format("Text number {}", i));
  }
  CHECK(store->compact(1.0) == 0);
  erase(*store, numbered(0));
  CHECK(store->compact(0.7) == 0);
  CHECK(store->compact(0.75) > 0);
}

TEST_CASE("compaction: a record stays as long as a document of its text does",
          "[memory_bank][store][property]") {
  const auto seed = GENERATE(range(0U, 4U));
  CAPTURE(seed);
  Random random(seed);
  const TemporaryDirectory directory;
  memory_bank::StoreOptions options;
  options.segment_bytes = 2000;
  auto store = Store::open(directory.path(), options);
  std::map<std::string, std::string> texts;  // of the documents there are
  std::map<std::string, uint64_t> versions;
  for (int step = 0; step < 60; ++step) {
    const std::string id = numbered(static_cast<int>(random.below(6)));
    const uint64_t choice = random.below(10);
    if (choice < 5) {
      texts[id] = fmt::format("One of three texts, number {}", random.below(3));
      put(*store, id, texts[id], ++versions[id]);
    } else if (choice < 8) {
      erase(*store, id, ++versions[id]);
      texts.erase(id);
    } else if (choice < 9) {
      store->compact(1.0);
    } else {
      store = nullptr;
      store = Store::open(directory.path(), options);
    }
  }
  std::map<std::string, int64_t> bytes;  // of each text once
  for (const auto& [id, text] : texts) {
    const auto memory = load(*store, id);
    REQUIRE(memory != nullptr);
    CHECK(memory->tokens == PairTokenizer().encode(text));
    bytes[text] = store->find("default", id)->memory_bytes;
  }
  CHECK(store->verify().empty());
  int64_t all = 0;
  for (const auto& [text, record] : bytes) {
    all += record;
  }
  CHECK(store->counts(bank_fingerprint()).memory_bytes == all);
  for (int i = 0; i < 6; ++i) {
    erase(*store, numbered(i), ++versions[numbered(i)]);
  }
  store->compact(1.0);
  CHECK(store->counts(bank_fingerprint()).memory_bytes == 0);
  CHECK(store->memory_statistics(bank_fingerprint()).segment_bytes == 0);
}

TEST_CASE("compaction: two at a time do each segment once", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  memory_bank::StoreOptions options;
  options.segment_bytes = 2048;
  const auto store = Store::open(directory.path(), options);
  for (int i = 0; i < 60; ++i) {
    put(*store, numbered(i), fmt::format("Text number {}", i));
    if (i % 3 != 0) {
      erase(*store, numbered(i));
    }
  }
  std::atomic<int> faults{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&] {
        try {
          store->compact(1.0);
        } catch (const std::exception&) {
          ++faults;
        }
      });
    }
  }
  CHECK(faults == 0);
  for (int i = 0; i < 60; i += 3) {
    CHECK(load(*store, numbered(i)) != nullptr);
  }
  CHECK(store->verify().empty());
}

TEST_CASE("compaction: an erased document's bytes are on no file any more",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const std::string secret = "xylophonequartz";
  const auto store = Store::open(directory.path());
  put(*store, "kept", "Something else entirely.");
  put(*store, "a", "The secret is " + secret + ".");
  const Memory memory = *load(*store, "a");
  const std::string values(static_cast<const char*>(memory.values.const_data_ptr()), 64);
  const std::string tokens(reinterpret_cast<const char*>(memory.tokens.data()), 32);
  REQUIRE(holds_bytes(directory.path(), secret));
  REQUIRE(holds_bytes(directory.path(), values));
  REQUIRE(holds_bytes(directory.path(), tokens));
  SECTION("erased") { erase(*store, "a"); }
  SECTION("replaced") { put(*store, "a", "Nothing to see here.", 2); }
  store->compact(1.0);
  CHECK_FALSE(holds_bytes(directory.path(), secret));
  CHECK_FALSE(holds_bytes(directory.path(), values));
  CHECK_FALSE(holds_bytes(directory.path(), tokens));
  CHECK(load(*store, "kept") != nullptr);
  CHECK(store->search_text("default", "entirely", 5, 0).size() == 1);
  CHECK(store->verify().empty());
}

TEST_CASE("compaction: a record that cannot be read does not stop it", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  auto store = Store::open(directory.path());
  put(*store, "a", "First text.");
  put(*store, "b", "Second text.");
  erase(*store, "a");
  std::filesystem::resize_file(directory / "memories/000001.seg", 100);
  CHECK(store->compact(1.0) > 0);
  CHECK(load(*store, "b") == nullptr);
  CHECK(store->chunks_without_memory(bank_fingerprint(), 0, 10).size() == 1);
  CHECK(store->verify().empty());
  CHECK_THROWS_AS(store->compact(1.5), InvalidArgument);
}

}  // namespace alluvium::tests
