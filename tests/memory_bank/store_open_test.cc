#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "sqlite.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {

using Catch::Matchers::Contains;
using memory_bank::Connection;
using memory_bank::DatabaseAccess;
using memory_bank::Store;
using memory_bank::StoreOptions;

TEST_CASE("store: a directory has one writer, and the message names it", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  auto first = Store::open(directory / "bank");
  CHECK_THROWS_AS(Store::open(directory / "bank"), Unavailable);
  CHECK_THROWS_WITH(Store::open(directory / "bank"),
                    Contains(std::to_string(::getpid())) && Contains(directory / "bank"));
  first.reset();
  CHECK_NOTHROW(Store::open(directory / "bank"));
}

TEST_CASE("store: a reader sees a running writer's documents and cannot write",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const auto writer = Store::open(directory.path());
  StoreOptions options;
  options.read_only = true;
  const auto reader = Store::open(directory.path(), options);
  CHECK_FALSE(reader->find("default", "a"));
  const auto deposit = make_deposit(make_document("a", 1, "Some text."));
  writer->commit({&deposit, 1});
  const auto found = reader->find("default", "a");
  REQUIRE(found);
  const auto chunks = reader->chunks(found->row);
  REQUIRE(chunks.size() == 1);
  CHECK(reader->load_memory(chunks[0].row, bank_fingerprint()) != nullptr);
  CHECK_THROWS_AS(reader->commit({&deposit, 1}), InvalidArgument);
  CHECK_THROWS_AS(reader->append_log({}), InvalidArgument);
  CHECK_THROWS_AS(reader->compact(), InvalidArgument);
  CHECK(reader->verify().empty());
}

TEST_CASE("store: a reader does not make a store", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  StoreOptions options;
  options.read_only = true;
  CHECK_THROWS_AS(Store::open(directory.path(), options), InvalidArgument);
  CHECK_FALSE(std::filesystem::exists(directory / "alluvium.db"));
}

TEST_CASE("store: a directory that may not be written is refused with its name",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  std::ofstream(directory / "file") << "not a directory";
  CHECK_THROWS_AS(Store::open(directory / "file"), InvalidArgument);
  if (::geteuid() == 0) {
    WARN("root may write anywhere: the read-only directory is skipped");
    return;
  }
  ::chmod(directory.path().c_str(), 0555);
  CHECK_THROWS_AS(Store::open(directory.path()), InvalidArgument);
  CHECK_THROWS_WITH(Store::open(directory.path()), Contains(directory.path()));
  ::chmod(directory.path().c_str(), 0755);
}

TEST_CASE("store: a file that is no database, or a damaged one, is a corruption",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "alluvium.db";
  SECTION("no database") {
    std::ofstream(path) << std::string(8192, 'x');
    CHECK_THROWS_AS(Store::open(directory.path()), DataCorruption);
  }
  SECTION("a page overwritten") {
    {
      const auto store = Store::open(directory.path());
      for (int i = 0; i < 50; ++i) {
        const auto deposit =
            make_deposit(make_document(fmt::format("d{}", i), 1, std::string(2000, 'y')));
        store->commit({&deposit, 1});
      }
    }
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 * 2);
    file << std::string(4096 * 10, 'z');
    file.close();
    CHECK_THROWS_AS(Store::open(directory.path()), DataCorruption);
  }
}

TEST_CASE("store: a database of schema version 1 is brought up, and its memories stay",
          "[memory_bank][store]") {
  const TemporaryDirectory directory;
  {
    const auto store = Store::open(directory.path());
    std::vector<memory_bank::Deposit> deposits = {make_deposit(make_document("a", 1, "alpha"))};
    store->commit(deposits);
  }
  {
    memory_bank::Connection old(directory / "alluvium.db", memory_bank::DatabaseAccess::read_write);
    old.execute(
        "DROP INDEX memory_by_text; ALTER TABLE memory DROP COLUMN document_sha;"
        "ALTER TABLE memory DROP COLUMN aim; ALTER TABLE memory DROP COLUMN preset;"
        "ALTER TABLE memory DROP COLUMN quality_gap; DROP TABLE setting; DROP TABLE held_document;"
        "DROP TABLE sample; DROP TABLE sample_head;"
        "ALTER TABLE ingest_log DROP COLUMN gated; PRAGMA user_version = 1");
  }
  const auto store = Store::open(directory.path());
  CHECK(store->counts(bank_fingerprint()).memories == 1);
  CHECK(store->chunks_not_made_for(bank_fingerprint(), 0, 10).empty());
  const auto chunk = store->chunks(store->find("default", "a")->row).at(0);
  CHECK(store->load_memory(chunk.row, bank_fingerprint()) != nullptr);
  CHECK(store->memory_statistics({}).kinds.at(0).preset.empty());
  CHECK(store->setting("x").empty());
  store->set_setting("x", "1");
  store->set_setting("x", "2");
  CHECK(store->setting("x") == "2");
  CHECK(store->held_documents(10).empty());
}

TEST_CASE("store: a newer schema is refused", "[memory_bank][store]") {
  const TemporaryDirectory directory;
  Store::open(directory.path()).reset();
  Connection(directory / "alluvium.db", DatabaseAccess::read_write)
      .execute("PRAGMA user_version = 999");
  CHECK_THROWS_AS(Store::open(directory.path()), DataCorruption);
  CHECK_THROWS_WITH(Store::open(directory.path()), Contains("999"));
}

}  // namespace alluvium::tests
