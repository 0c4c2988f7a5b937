// The thread that makes memories and keys which the running models lack.
//
// Purpose: after a change of model, codec, preset or encoder, after a damaged record, and for
//          documents too long to be held at once, what is missing is made from the stored text while
//          questions go on. A memory of another preset is attended to until its new one stands. What
//          replaced or deleted memories leave behind on the disk is reclaimed here too.
// Threads: thread-safe; the work runs on the worker's own thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/memory_cache.h"
#include "alluvium/memory_bank/retriever.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/configuration.h"
#include "alluvium/service/engine.h"

namespace alluvium::service {

class RemakeWorker {
 public:
  /// References must outlive it. Begins with one look for anything missing. `other_tokenizer`: chunks that a fresh cut does not give are
  /// left alone, because their ids mean nothing to the running decoder.
  RemakeWorker(memory_bank::Store& store, memory_bank::Retriever& retriever,
               memory_bank::MemoryCache& cache, const Models& models,
               const memory_bank::Codec& codec, const Configuration& configuration,
               bool other_tokenizer);
  ~RemakeWorker();

  /// Something may be missing: look again.
  void wake();

  /// Whether something is being made, or will be looked for.
  bool busy() const { return busy_.load(); }

  /// Why the last pass left something unmade; empty when it did not.
  std::string error() const;

  void stop();

 private:
  using Page = std::function<std::vector<memory_bank::ChunkRow>(int64_t)>;

  void run(const std::stop_token& stopped);
  void pass(const std::stop_token& stopped);
  /// Makes memories of the chunks that `next_page(after_row)` gives; returns how many chunks.
  int64_t make_memories(const std::stop_token& stopped, const Page& next_page);
  /// Compacts when enough of the segment files is dead.
  void reclaim();
  void make_keys(const std::stop_token& stopped);
  bool is_current(const memory_bank::ChunkRow& row) const;
  void add_together(std::span<const memory_bank::ChunkRow> rows);
  void add(std::span<const memory_bank::ChunkRow> rows);

  memory_bank::Store& store_;
  memory_bank::Retriever& retriever_;
  memory_bank::MemoryCache& cache_;
  const Models& models_;
  const memory_bank::Codec& codec_;
  const IngestConfiguration& options_;
  const TemplateConfiguration& prompt_;
  const bool other_tokenizer_;

  std::atomic<bool> busy_{true};
  mutable std::mutex mutex_;
  std::condition_variable_any woken_;
  bool wanted_ = true;  // guarded by mutex_
  std::string error_;   // guarded by mutex_
  std::jthread thread_;
};

}  // namespace alluvium::service
