// A first-in first-out queue with a limit, between threads.
//
// Purpose: back-pressure. A full queue makes producers wait or tells them so; closing wakes everybody.
// Threads: thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "alluvium/core/error.h"

namespace alluvium {

enum class PushResult { pushed, full, closed };

template <class T>
class BoundedQueue {
 public:
  /// capacity: items held at most. Throws InvalidArgument when 0.
  explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {
    ALLUVIUM_CHECK(capacity > 0, "queue capacity must be positive, got 0");
  }

  /// Waits for room. Returns pushed, or closed (the item is dropped).
  PushResult push(T item) {
    std::unique_lock lock(mutex_);
    not_full_.wait(lock, [&] { return closed_ || items_.size() < capacity_; });
    return append(std::move(item));
  }

  /// Never waits. Returns full when there is no room (the item is dropped).
  PushResult try_push(T item) {
    const std::lock_guard lock(mutex_);
    if (!closed_ && items_.size() >= capacity_) {
      return PushResult::full;
    }
    return append(std::move(item));
  }

  /// Waits for an item; nothing when the queue is closed and empty.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    not_empty_.wait(lock, [&] { return closed_ || !items_.empty(); });
    return take();
  }

  /// Waits up to `wait` for an item; nothing on a timeout, or when closed and empty.
  std::optional<T> pop_for(std::chrono::milliseconds wait) {
    std::unique_lock lock(mutex_);
    not_empty_.wait_for(lock, wait, [&] { return closed_ || !items_.empty(); });
    return take();
  }

  /// Takes what is there, at most `limit` items, without waiting.
  std::vector<T> drain(std::size_t limit) {
    const std::lock_guard lock(mutex_);
    std::vector<T> taken;
    while (!items_.empty() && taken.size() < limit) {
      taken.push_back(std::move(items_.front()));
      items_.pop_front();
    }
    not_full_.notify_all();
    return taken;
  }

  /// No item enters after this; those inside can still be taken.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    not_empty_.notify_all();
    not_full_.notify_all();
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return items_.size();
  }

  std::size_t capacity() const { return capacity_; }

 private:
  PushResult append(T&& item) {
    if (closed_) {
      return PushResult::closed;
    }
    items_.push_back(std::move(item));
    not_empty_.notify_one();
    return PushResult::pushed;
  }

  std::optional<T> take() {
    if (items_.empty()) {
      return std::nullopt;
    }
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    not_full_.notify_one();
    return item;
  }

  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable not_full_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace alluvium
