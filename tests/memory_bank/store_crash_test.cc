#include <csignal>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "alluvium/memory_bank/kv_record.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::Deposit;
using memory_bank::LogEntry;
using memory_bank::Store;

constexpr ssize_t kAckBytes = sizeof(int64_t);

Document numbered(int64_t number) {
  return make_document(fmt::format("d{}", number), 1,
                       fmt::format("Document number {}", number) + std::string(500, '.'));
}

/// Logs and commits documents without end, and reports each acked offset through the pipe.
[[noreturn]] void write_forever(const std::string& directory, int pipe) {
  const auto store = Store::open(directory);
  while (true) {
    const auto pending = store->pending_log(0, 1);
    int64_t offset = 0;
    if (pending.empty()) {
      LogEntry entry;
      entry.document = numbered(store->counts(bank_fingerprint()).logged_offset + 1);
      offset = store->append_log({&entry, 1}).at(0);
      if (::write(pipe, &offset, sizeof(offset)) != kAckBytes) {
        ::_exit(1);
      }
    } else {
      const Deposit deposit = make_deposit(pending[0].document, pending[0].offset);
      store->commit({&deposit, 1});
    }
  }
}

/// Lets a child process write until `acks` offsets were acked, then kills it. Returns the last acked offset.
int64_t write_and_kill(const std::string& directory, int acks, useconds_t pause_us) {
  int ends[2] = {-1, -1};
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    at::set_num_threads(1);  // the parent's pool of threads is not there
    ::close(ends[0]);
    try {
      write_forever(directory, ends[1]);
    } catch (...) {
      ::_exit(2);
    }
  }
  ::close(ends[1]);
  int64_t last = 0;
  int64_t offset = 0;
  for (int i = 0; i < acks && ::read(ends[0], &offset, sizeof(offset)) == kAckBytes; ++i) {
    last = offset;
  }
  ::usleep(pause_us);  // so that the kill falls anywhere, not only right after an ack
  ::kill(child, SIGKILL);
  while (::read(ends[0], &offset, sizeof(offset)) == kAckBytes) {
    last = offset;
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  return last;
}

}  // namespace

TEST_CASE("crash: what was acked survives kill -9, once, whole and without repair",
          "[memory_bank][store][crash]") {
  const TemporaryDirectory directory;
  Random random(7);
  for (int round = 0; round < 8; ++round) {
    CAPTURE(round);
    const int64_t acked = write_and_kill(directory.path(), 1 + static_cast<int>(random.below(6)),
                                         static_cast<useconds_t>(random.below(4000)));
    REQUIRE(acked > 0);
    const auto store = Store::open(directory.path());
    CHECK(store->verify().empty());
    const auto counts = store->counts(bank_fingerprint());
    CHECK(counts.logged_offset >= acked);
    CHECK(counts.memories == counts.chunks);
    CHECK(counts.documents + counts.pending == counts.logged_offset);
    for (const LogEntry& entry : store->pending_log(0, 100)) {
      CHECK(entry.document.text == numbered(entry.offset).text);
      const Deposit deposit = make_deposit(entry.document, entry.offset);
      store->commit({&deposit, 1});
    }
    for (int64_t offset = 1; offset <= acked; ++offset) {
      const auto document = store->read_document("default", numbered(offset).id);
      REQUIRE(document);
      CHECK(document->text == numbered(offset).text);
    }
  }
}

TEST_CASE("crash: a record without its row is not seen, and its space is used again",
          "[memory_bank][store][crash]") {
  const TemporaryDirectory directory;
  const std::string segment = directory / "memories/000001.seg";
  const Deposit first = make_deposit(make_document("a", 1, "First text."));
  const auto record = memory_bank::encode_record(first.memories[0]);
  Store::open(directory.path())->commit({&first, 1});
  const auto clean_size = std::filesystem::file_size(segment);
  {
    // What a crash between append and commit leaves: a whole record, or a torn one.
    std::ofstream file(segment, std::ios::binary | std::ios::app);
    const auto size = GENERATE(1U, 100U, 10000U);
    file.write(reinterpret_cast<const char*>(record.data()),
               static_cast<std::streamsize>(std::min<std::size_t>(size, record.size())));
  }
  const auto store = Store::open(directory.path());
  CHECK(std::filesystem::file_size(segment) == clean_size);
  CHECK(store->counts(bank_fingerprint()).memories == 1);
  CHECK(store->verify().empty());
  const Deposit second = make_deposit(make_document("b", 1, "Second text."));
  store->commit({&second, 1});
  CHECK(store->verify().empty());
  const int64_t chunk = store->chunks(store->find("default", "b")->row).at(0).row;
  CHECK(same_memory(*store->load_memory(chunk, bank_fingerprint()), second.memories[0]));
}

}  // namespace alluvium::tests
