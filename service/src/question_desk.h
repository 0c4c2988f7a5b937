// Questions being answered, and the threads that answer them.
//
// Purpose: QUERY to TOKEN…, CITE, DONE; cancel, deadline and a bounded queue.
// Threads: thread-safe; answer threads of its own call Engine::ask.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "completion_queue.h"
#include "worker_pool.h"

namespace alluvium::service {

class QuestionDesk {
 public:
  /// engine and completions must outlive it.
  QuestionDesk(Engine& engine, CompletionQueue& completions, int64_t threads);

  enum class Taken { taken, busy, duplicate };

  /// Queues a question under (client, request). `deadline_us`: monotonic, 0 = none.
  Taken take(const std::string& client, uint64_t request, Question question, int64_t deadline_us);

  /// False when there is no such question.
  bool cancel(const std::string& client, uint64_t request);
  void cancel_all_of(const std::string& client);

  /// Cancels everything, lets the answer threads say so and joins them.
  void finish();

 private:
  using Key = std::pair<std::string, uint64_t>;
  using Flag = std::shared_ptr<std::atomic<bool>>;

  void answer(const Key& key, const Question& question, int64_t deadline_us,
              const std::atomic<bool>& cancelled);

  Engine& engine_;
  CompletionQueue& completions_;
  std::mutex mutex_;
  std::map<Key, Flag> open_;
  WorkerPool pool_;  // last: its threads use everything above
};

}  // namespace alluvium::service
