#include <filesystem>
#include <fstream>

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::Deposit;
using memory_bank::Memory;
using memory_bank::Store;

/// Stores one document and returns the row of its chunk.
int64_t put(Store& store, const std::string& id, const std::string& text) {
  const Deposit deposit = make_deposit(make_document(id, 1, text));
  store.commit({&deposit, 1});
  return store.chunks(store.find("default", id)->row).at(0).row;
}

void flip_byte(const std::string& path, std::streamoff at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const char byte = static_cast<char>(file.get());
  file.seekp(at);
  file.put(static_cast<char>(byte ^ 0x10));
}

}  // namespace

TEST_CASE("memories: the same bits come back after a restart", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  int64_t chunk = 0;
  {
    const auto store = Store::open(directory.path());
    chunk = put(*store, "a", "Some text to remember.");
  }
  const auto store = Store::open(directory.path());
  const auto memory = store->load_memory(chunk, bank_fingerprint());
  REQUIRE(memory != nullptr);
  CHECK(same_memory(*memory,
                    make_deposit(make_document("a", 1, "Some text to remember.")).memories[0]));
}

TEST_CASE("memories: another fingerprint sees nothing until it is re-made",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  const int64_t first = put(*store, "a", "First text.");
  const int64_t second = put(*store, "b", "Second text.");
  const Digest other = sha256("another model");
  CHECK(store->load_memory(first, other) == nullptr);
  CHECK(store->load_memory(first, bank_fingerprint()) != nullptr);
  CHECK(store->chunks_without_memory(bank_fingerprint(), 0, 10).empty());
  const auto missing = store->chunks_without_memory(other, 0, 10);
  REQUIRE(missing.size() == 2);
  CHECK(missing[0].row == first);
  CHECK(missing[0].chunk.tokens == PairTokenizer().encode("First text."));
  CHECK(store->chunks_without_memory(other, first, 10).size() == 1);
  CHECK(store->chunks_without_memory(other, 0, 1).size() == 1);
  CHECK(store->counts(other).memories == 0);
  CHECK(store->counts(other).stale_memories == 2);

  std::vector<Memory> made;
  std::vector<int64_t> rows;
  for (const auto& chunk : missing) {
    Memory memory = make_memory(chunk.chunk.tokens, 99);
    memory.fingerprint = other;
    made.push_back(memory);
    rows.push_back(chunk.row);
  }
  made.push_back(made[0]);
  rows.push_back(12345);  // vanished meanwhile
  store->add_memories(rows, made);
  REQUIRE(store->load_memory(second, other) != nullptr);
  CHECK(same_memory(*store->load_memory(second, other), made[1]));
  CHECK(store->load_memory(second, bank_fingerprint()) == nullptr);
  CHECK(store->counts(other).memories == 2);
  CHECK(store->verify().empty());
}

TEST_CASE("memories: those of a family serve who asks for it, and what they were made for is known",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  const Digest family = sha256("a family");
  const Digest second = sha256("other settings");
  const Digest stranger = sha256("another model");
  std::vector<memory_bank::Deposit> deposits = {make_deposit(make_document("a", 1, "alpha")),
                                                make_deposit(make_document("b", 1, "beta")),
                                                make_deposit(make_document("c", 1, "gamma"))};
  deposits[1].memories[0].fingerprint = second;  // stored richer than asked for
  deposits[1].memories[0].origin = {bank_fingerprint(), "compact", 0.25};
  deposits[2].memories[0].fingerprint = stranger;
  store->commit(deposits);
  const auto chunk = [&](const std::string& id) {
    return store->chunks(store->find("default", id)->row).at(0).row;
  };
  CHECK(store->load_memory(chunk("a"), family) == nullptr);
  store->set_family(family, {bank_fingerprint(), second});
  for (const char* id : {"a", "b"}) {
    const auto memory = store->load_memory(chunk(id), family);
    REQUIRE(memory != nullptr);
    CHECK(memory->fingerprint == family);
  }
  CHECK(store->load_memory(chunk("c"), family) == nullptr);
  CHECK(store->load_memory(chunk("b"), bank_fingerprint()) == nullptr);
  CHECK(store->counts(family).memories == 2);
  CHECK(store->counts(family).stale_memories == 1);
  const auto without = store->chunks_without_memory(family, 0, 10);
  REQUIRE(without.size() == 1);
  CHECK(without[0].row == chunk("c"));
  CHECK(store->chunks_not_made_for(bank_fingerprint(), 0, 10).size() == 1);
  CHECK(store->chunks_not_made_for(second, 0, 10).size() == 3);
  CHECK(store->chunks_not_made_for(second, chunk("b"), 10).size() == 1);
  CHECK(store->quality_gaps(second, 10) == std::vector<double>{0.25});
  const auto statistics = store->memory_statistics(bank_fingerprint());
  CHECK(statistics.memories == 3);
  CHECK(statistics.waiting == 1);
  CHECK(statistics.kinds.back().preset == "compact");
  CHECK(statistics.kinds.back().richer == 1);
  CHECK(statistics.quality_gaps == std::vector<double>{0.25});
  CHECK(statistics.segment_bytes >= statistics.bytes);
}

TEST_CASE("memories: a codec without tensors stores tokens only", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  Deposit deposit = make_deposit(make_document("a", 1, "Some text."));
  SECTION("no memories") { deposit.memories.clear(); }
  SECTION("memories of tokens") {
    deposit.memories[0].keys = at::Tensor();
    deposit.memories[0].values = at::Tensor();
  }
  store->commit({&deposit, 1});
  const auto missing = store->chunks_without_memory(bank_fingerprint(), 0, 10);
  REQUIRE(missing.size() == 1);
  CHECK(store->load_memory(missing[0].row, bank_fingerprint()) == nullptr);
  CHECK(store->counts(bank_fingerprint()).memory_bytes == 0);
}

TEST_CASE("memories: a damaged record is found, becomes invisible and can be re-made",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const std::string segment = directory / "memories/000001.seg";
  const auto store = Store::open(directory.path());
  const int64_t first = put(*store, "a", "First text.");
  const int64_t second = put(*store, "b", "Second text.");
  SECTION("a flipped byte") {
    flip_byte(segment, 64 + 200);
    CHECK(store->verify().size() == 1);
  }
  SECTION("another document's record in its place") {
    const auto bytes = store->find("default", "b")->memory_bytes;
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    std::string record(static_cast<std::size_t>(bytes), '\0');
    file.seekg(-bytes, std::ios::end);
    file.read(record.data(), bytes);
    file.seekp(64);
    file.write(record.data(), bytes);
    file.close();
    // The records differ in size, so the first may already overlap the second: only the first is asked for.
    CHECK_FALSE(store->verify().empty());
  }
  CHECK(store->load_memory(first, bank_fingerprint()) == nullptr);
  const auto missing = store->chunks_without_memory(bank_fingerprint(), 0, 10);
  REQUIRE_FALSE(missing.empty());
  CHECK(missing[0].row == first);
  const Memory again = make_memory(missing[0].chunk.tokens, 5);
  store->add_memories(std::span(&first, 1), std::span(&again, 1));
  CHECK(store->load_memory(first, bank_fingerprint()) != nullptr);
  CHECK(second != first);
}

TEST_CASE("memories: documents of equal text share one record", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  auto store = Store::open(directory.path());
  const std::string text = "Twice the same text.";
  const int64_t first = put(*store, "a", text);
  const int64_t alone = store->counts(bank_fingerprint()).memory_bytes;
  const auto file_bytes = [&] {
    return std::filesystem::file_size(directory / "memories/000001.seg");
  };
  const auto file_alone = file_bytes();
  // In a batch of their own, and beside each other in one.
  const std::vector<Deposit> more = {make_deposit(make_document("b", 1, text)),
                                     make_deposit(make_document("c", 1, text)),
                                     make_deposit(make_document("d", 1, "Another text."))};
  store->commit(std::span(more).first(2));
  CHECK(file_bytes() == file_alone);
  CHECK(store->counts(bank_fingerprint()).memory_bytes == alone);
  CHECK(store->memory_statistics(bank_fingerprint()).bytes == alone);
  CHECK(store->memory_statistics(bank_fingerprint()).memories == 3);
  store->commit(std::span(more).last(1));
  CHECK(file_bytes() > file_alone);
  store = nullptr;
  store = Store::open(directory.path());
  const auto row = [&](const std::string& id) {
    return store->chunks(store->find("default", id)->row).at(0).row;
  };
  for (const char* id : {"a", "b", "c"}) {
    const auto memory = store->load_memory(row(id), bank_fingerprint());
    REQUIRE(memory != nullptr);
    CHECK(same_memory(*memory, more[0].memories[0]));
  }
  CHECK(row("a") == first);

  // Under another fingerprint the same text is another record.
  Memory other = make_memory(more[0].chunks[0].tokens, 99);
  other.fingerprint = sha256("another model");
  const int64_t b = row("b");
  store->add_memories(std::span(&b, 1), std::span(&other, 1));
  CHECK(store->counts(bank_fingerprint()).memory_bytes > 2 * alone);
  CHECK(store->load_memory(b, bank_fingerprint()) == nullptr);
  CHECK(store->load_memory(row("c"), bank_fingerprint()) != nullptr);
  CHECK(store->verify().empty());
}

TEST_CASE("memories: a record that is damaged is not shared again", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  const std::string text = "Twice the same text.";
  const int64_t first = put(*store, "a", text);
  const int64_t second = put(*store, "b", text);
  flip_byte(directory / "memories/000001.seg", 64 + 200);
  const int64_t third = put(*store, "c", text);
  CHECK(store->load_memory(third, bank_fingerprint()) != nullptr);
  CHECK(store->load_memory(first, bank_fingerprint()) == nullptr);
  CHECK(store->load_memory(second, bank_fingerprint()) == nullptr);
  const auto missing = store->chunks_without_memory(bank_fingerprint(), 0, 10);
  REQUIRE(missing.size() == 2);
  const int64_t bytes = store->counts(bank_fingerprint()).memory_bytes;
  const Memory again = make_deposit(make_document("a", 1, text)).memories[0];
  for (const auto& chunk : missing) {
    store->add_memories(std::span(&chunk.row, 1), std::span(&again, 1));
    CHECK(store->load_memory(chunk.row, bank_fingerprint()) != nullptr);
  }
  CHECK(store->counts(bank_fingerprint()).memory_bytes == bytes);
  CHECK(store->verify().empty());
}

TEST_CASE("memories: a cut or missing segment loses its memories and nothing else",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  int64_t chunk = 0;
  {
    const auto store = Store::open(directory.path());
    chunk = put(*store, "a", "First text.");
  }
  SECTION("cut") { std::filesystem::resize_file(directory / "memories/000001.seg", 100); }
  SECTION("missing") { std::filesystem::remove(directory / "memories/000001.seg"); }
  const auto store = Store::open(directory.path());
  CHECK(store->verify().size() == 1);
  CHECK(store->load_memory(chunk, bank_fingerprint()) == nullptr);
  CHECK(store->read_document("default", "a")->text == "First text.");
  CHECK(store->verify().empty());
  const int64_t next = put(*store, "b", "Second text.");
  CHECK(store->load_memory(next, bank_fingerprint()) != nullptr);
}

}  // namespace alluvium::tests
