// Clients that wait until their documents answer questions.
//
// Threads: thread-safe; one thread of its own waits on the engine.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "completion_queue.h"

namespace alluvium::service {

struct FlushRequest {
  std::string client;
  uint64_t request = 0;
  int64_t deadline_us = 0;  ///< monotonic; 0 = none
  int64_t offset = 0;       ///< filled in by the journal
};

class FlushWaiter {
 public:
  /// engine and completions must outlive it.
  FlushWaiter(Engine& engine, CompletionQueue& completions);
  ~FlushWaiter();

  void add(FlushRequest request);

  /// Refuses what still waits, then joins.
  void finish();

 private:
  void run(const std::stop_token& stop);
  /// True when the request has been answered.
  bool answer(const FlushRequest& request);

  Engine& engine_;
  CompletionQueue& completions_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<FlushRequest> waiting_;
  std::jthread thread_;
};

}  // namespace alluvium::service
