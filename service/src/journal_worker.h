// The thread between received documents and their acknowledgement.
//
// Purpose: group commit. While one batch waits for the disk the next one gathers, so that
//          publishers share each fsync. Threads: thread-safe; one thread of its own calls
//          Engine::log.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "alluvium/core/bounded_queue.h"
#include "completion_queue.h"
#include "flush_waiter.h"

namespace alluvium::service {

/// A document or delete on its way to the ingest log.
struct JournalEntry {
  std::string client;
  std::size_t bytes = 0;  ///< credit it holds
  memory_bank::LogEntry entry;
};

class JournalWorker {
 public:
  /// engine, completions and flushes must outlive it. `capacity`: entries queued at most.
  JournalWorker(Engine& engine, CompletionQueue& completions, FlushWaiter& flushes,
                std::size_t capacity);
  ~JournalWorker();

  /// Never waits; anything but `pushed` means the item was dropped.
  PushResult submit(JournalEntry entry) { return queue_.try_push(std::move(entry)); }
  /// The flush waits for everything submitted before it.
  PushResult submit(FlushRequest flush) { return queue_.try_push(std::move(flush)); }

  /// Logs what is queued, then joins.
  void finish();

 private:
  using Item = std::variant<JournalEntry, FlushRequest>;

  void run();
  void begin_flush(FlushRequest flush);
  void log(std::vector<JournalEntry>& batch);
  void acknowledge(const std::vector<JournalEntry>& batch,
                   std::span<const memory_bank::LogEntry> entries);
  void refuse(const std::vector<JournalEntry>& batch,
              std::span<const memory_bank::LogEntry> entries, WireError code,
              const std::string& reason);

  Engine& engine_;
  CompletionQueue& completions_;
  FlushWaiter& flushes_;
  BoundedQueue<Item> queue_;
  int64_t highest_offset_ = 0;  // 0: nothing logged since the start, only repeats at most
  std::jthread thread_;
};

}  // namespace alluvium::service
