// A few threads and a bounded queue of tasks.
//
// Threads: thread-safe. Tasks must not throw.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "alluvium/core/bounded_queue.h"

namespace alluvium::service {

class WorkerPool {
 public:
  WorkerPool(int64_t threads, std::size_t capacity) : tasks_(capacity) {
    for (int64_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this] {
        while (const auto task = tasks_.pop()) {
          (*task)();
        }
      });
    }
  }

  ~WorkerPool() { finish(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Never waits; full or closed when the task was not taken.
  PushResult submit(std::function<void()> task) { return tasks_.try_push(std::move(task)); }

  /// Takes no more tasks, runs those queued and joins.
  void finish() {
    tasks_.close();
    threads_.clear();
  }

 private:
  BoundedQueue<std::function<void()>> tasks_;
  std::vector<std::jthread> threads_;
};

}  // namespace alluvium::service
