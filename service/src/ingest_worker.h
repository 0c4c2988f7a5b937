// The thread that turns the ingest log into memories.
//
// Purpose: logged -> cut -> embedded and compressed in batches -> one transaction -> index ->
// event. The log is the only queue: what is not
//          applied is found there again after any crash.
// Differs: batches keep the log's order instead of grouping by length. The decoder reads sequences
// packed, without padding, so equal
//          lengths would gain nothing, and in order "applied up to offset n" is a single number.
// Threads: thread-safe; the work runs on the worker's own thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "alluvium/memory_bank/memory_cache.h"
#include "alluvium/memory_bank/retriever.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/engine.h"
#include "ingest_deposit.h"

namespace alluvium::service {

struct IngestCounters {
  int64_t documents = 0;
  int64_t tokens = 0;
  double ms = 0;      ///< inside planning, compress and commit
  std::string error;  ///< why the worker waits; empty when it runs
};

/// What the worker calls; each may be empty.
struct IngestHooks {
  std::function<void(const Event&)> event;
  std::function<std::optional<memory_bank::GateVerdict>(const Document&)>
      gate;  ///< why a new document is kept out; nothing when it is let through
  std::function<void()>
      deferred;  ///< a document was committed whose memories must be made in the background
  std::function<void(bool drained)>
      settled;  ///< entries were applied; drained: none is left, told once
};

class IngestWorker {
 public:
  /// References must outlive it. Starts with what the log still holds.
  IngestWorker(memory_bank::Store& store, memory_bank::Retriever& retriever,
               memory_bank::MemoryCache& cache, DepositMaker maker,
               const IngestConfiguration& options, IngestHooks hooks);
  ~IngestWorker();

  /// `entries` more are in the log.
  void wake(int64_t entries);

  /// As Engine::wait_applied.
  bool wait_applied(int64_t offset, int64_t timeout_ms);

  /// Entries logged and not applied.
  int64_t backlog() const;
  IngestCounters counters() const;

  /// Finishes the batch in hand and joins the thread.
  void stop();

 private:
  void run(const std::stop_token& stopped);
  void apply(std::vector<memory_bank::LogEntry> entries, const std::stop_token& stopped);
  void recover(const std::exception& error, const std::stop_token& stopped);
  void pause(int64_t ms, const std::string& reason, const std::stop_token& stopped);
  std::optional<memory_bank::GateVerdict> keep_out(const memory_bank::LogEntry& entry) const;
  PlannedPut plan(const memory_bank::LogEntry& entry) const;
  void apply_puts(std::vector<PlannedPut>& puts, const std::stop_token& stopped);
  void apply_singly(PlannedPut& put, const std::stop_token& stopped);
  void apply_erase(const memory_bank::LogEntry& entry, const std::stop_token& stopped);
  void commit(const std::vector<PlannedPut>& puts, std::vector<memory_bank::Deposit> deposits,
              const std::stop_token& stopped);
  void reject(const memory_bank::LogEntry& entry, const std::string& reason,
              const std::stop_token& stopped);
  void hold_back(const memory_bank::LogEntry& entry, const memory_bank::GateVerdict& verdict,
                 const std::stop_token& stopped);
  void persist(const std::function<void()>& write, const std::stop_token& stopped);
  void finished(int64_t through, int64_t entries);
  void settled(bool drained) const;
  void emit(const Event& event) const;

  memory_bank::Store& store_;
  memory_bank::Retriever& retriever_;
  memory_bank::MemoryCache& cache_;
  const DepositMaker maker_;
  const IngestConfiguration& options_;
  const IngestHooks hooks_;

  std::atomic<int64_t> backlog_{0};
  mutable std::mutex mutex_;
  std::condition_variable_any woken_;
  std::condition_variable applied_;
  int64_t applied_through_ = 0;  // guarded by mutex_: every offset up to it is applied
  int64_t wakes_ = 0;            // guarded by mutex_
  bool stopping_ = false;        // guarded by mutex_
  IngestCounters counters_;      // guarded by mutex_
  std::jthread thread_;          // last: starts when everything above stands
};

}  // namespace alluvium::service
