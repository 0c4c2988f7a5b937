#include "ingest_worker.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/codec.h"
#include "alluvium/service/prompt.h"
#include "faulty_store.h"
#include "support/catch.h"
#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::tests {
namespace {

using memory_bank::Deposit;
using memory_bank::LogEntry;
using service::IngestWorker;

/// An ingest worker over a store with faults.
struct Bench {
  explicit Bench(FaultyStore::Fault fault) : store(configuration.directory, std::move(fault)) {}

  std::vector<int64_t> log(int count) {
    std::vector<LogEntry> entries;
    for (int i = 0; i < count; ++i) {
      entries.emplace_back().document =
          make_document(fmt::format("d{}", i), 1, "", fmt::format("Text number {}.", i));
    }
    return store.append_log(entries);
  }

  void start(service::IngestHooks hooks = {}) {
    worker = std::make_unique<IngestWorker>(
        store, retriever, cache,
        service::DepositMaker(models, *codec, configuration.prompt, configuration.ingest),
        configuration.ingest, std::move(hooks));
  }

  std::unique_ptr<memory_bank::Codec> make_codec() {
    memory_bank::CodecRegistry registry("codec");
    memory_bank::register_codecs(registry);
    return registry.make("kv", {.decoder = models.decoder.get(),
                                .tokenizer = models.decoder_tokenizer.get(),
                                .prefix = &prefix,
                                .options = configuration.codec});
  }

  TemporaryDirectory directory;
  service::Configuration configuration = tiny_configuration(directory.path());
  service::Models models = make_tiny_models(directory.path());
  memory_bank::SharedPrefix prefix = memory_bank::read_shared_prefix(
      *models.decoder, service::prefix_tokens(configuration.prompt, *models.decoder_tokenizer));
  std::unique_ptr<memory_bank::Codec> codec = make_codec();
  FaultyStore store;
  memory_bank::Retriever retriever{store, *models.encoder, {}};
  memory_bank::MemoryCache cache{std::size_t{1} << 20};
  std::unique_ptr<IngestWorker> worker;
};

TEST_CASE("ingest: a full disk pauses, says so, and loses nothing", "[service][ingest]") {
  std::atomic<bool> full{true};
  Bench bench([&](std::span<const Deposit>) {
    if (full) {
      throw ResourceExhausted("the disk is full");
    }
  });
  const int64_t last = bench.log(5).back();
  bench.start();
  while (bench.worker->counters().error.empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK_THAT(bench.worker->counters().error, Catch::Matchers::Contains("disk is full"));
  CHECK_FALSE(bench.worker->wait_applied(last, 1));
  CHECK(bench.worker->backlog() == 5);
  CHECK(bench.store.dead_letters(10).empty());

  full = false;
  REQUIRE(bench.worker->wait_applied(last, 60000));
  CHECK(bench.worker->counters().error.empty());
  CHECK(bench.worker->backlog() == 0);
  CHECK(bench.store.counts(bench.codec->fingerprint()).documents == 5);
}

TEST_CASE("ingest: it is told when entries were applied, and once when none is left",
          "[service][ingest]") {
  Bench bench([](std::span<const Deposit>) {});
  bench.configuration.ingest.batch_documents = 2;
  std::atomic<int> applied{0};
  std::atomic<int> drained{0};
  const auto wait_for = [&](const std::atomic<int>& count, int wanted) {
    while (count < wanted) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  };
  bench.log(5);
  service::IngestHooks hooks;
  hooks.settled = [&](bool none_left) { ++(none_left ? drained : applied); };
  bench.start(std::move(hooks));
  wait_for(drained, 1);
  CHECK(applied == 3);  // two, two and one

  std::vector<LogEntry> more(1);
  more[0].document = make_document("more", 1, "", "One more text.");
  bench.store.append_log(more);
  bench.worker->wake(1);
  wait_for(drained, 2);
  CHECK(applied == 4);
  bench.worker->wake(0);  // nothing new: nothing to tell
  bench.worker->stop();
  CHECK(drained == 2);
}

TEST_CASE("ingest: a worker stopped on a full disk leaves its entries in the log",
          "[service][ingest]") {
  Bench bench([](std::span<const Deposit>) { throw ResourceExhausted("the disk is full"); });
  bench.log(3);
  bench.start();
  while (bench.worker->counters().error.empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  bench.worker->stop();
  CHECK(bench.store.pending_log(0, 10).size() == 3);
}

TEST_CASE("ingest: a document that fails every time is rejected alone after five tries",
          "[service][ingest]") {
  std::atomic<int> alone{0};
  Bench bench([&](std::span<const Deposit> deposits) {
    for (const Deposit& deposit : deposits) {
      if (deposit.document.id == "d2") {
        alone += deposits.size() == 1 ? 1 : 0;
        throw InternalError("this one breaks");
      }
    }
  });
  const int64_t last = bench.log(5).back();
  bench.start();
  REQUIRE(bench.worker->wait_applied(last, 60000));
  CHECK(alone == 5);
  CHECK(bench.store.counts(bench.codec->fingerprint()).documents == 4);
  const auto letters = bench.store.dead_letters(10);
  REQUIRE(letters.size() == 1);
  CHECK_THAT(letters[0].reason, Catch::Matchers::Contains("this one breaks"));
  CHECK(bench.worker->backlog() == 0);
}

TEST_CASE("ingest: a fault that passes costs no document", "[service][ingest]") {
  std::atomic<int> failures{3};
  Bench bench([&](std::span<const Deposit>) {
    if (failures.fetch_sub(1) > 0) {
      throw InternalError("once more");
    }
  });
  const int64_t last = bench.log(4).back();
  bench.start();
  REQUIRE(bench.worker->wait_applied(last, 60000));
  CHECK(bench.store.counts(bench.codec->fingerprint()).documents == 4);
  CHECK(bench.store.dead_letters(10).empty());
}

TEST_CASE("ingest: batches stay within their tokens and documents", "[service][ingest]") {
  std::atomic<std::size_t> largest{0};
  std::atomic<int> commits{0};
  Bench bench([&](std::span<const Deposit> deposits) {
    largest = std::max(largest.load(), deposits.size());
    ++commits;
  });
  bench.configuration.ingest.batch_documents = 7;
  const int64_t last = bench.log(40).back();
  bench.start();
  REQUIRE(bench.worker->wait_applied(last, 60000));
  CHECK(largest == 7);
  CHECK(commits == 6);
  CHECK(bench.worker->counters().documents == 40);
}

TEST_CASE("compress_chunks: memories come in the chunks' order, whatever the batch",
          "[service][ingest]") {
  Bench bench([](std::span<const Deposit>) {});
  std::vector<memory_bank::Chunk> chunks;
  for (const char* text : {"One.", "The second is longer.", "Three", "And a fourth one here."}) {
    chunks.emplace_back().tokens = bench.models.decoder_tokenizer->encode(text);
  }
  const auto batch_tokens = GENERATE(int64_t{1}, int64_t{30}, int64_t{1000});
  const auto memories = service::compress_chunks(*bench.codec, chunks, batch_tokens);
  REQUIRE(memories.size() == chunks.size());
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    CHECK(memories[i].tokens == chunks[i].tokens);
    CHECK(memories[i].keys.size(2) == static_cast<int64_t>(chunks[i].tokens.size()));
  }
}

}  // namespace
}  // namespace alluvium::tests
