// One published value that readers take a share of while a writer replaces it whole.
//
// Purpose: queries read an immutable snapshot; publishing swaps one pointer.
// Differs: a mutex held for the copy only, because libstdc++ 12's std::atomic<std::shared_ptr> is reported by ThreadSanitizer.
// Threads: thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace alluvium {

template <class T>
class SnapshotSlot {
 public:
  SnapshotSlot() = default;
  explicit SnapshotSlot(std::shared_ptr<const T> first) : current_(std::move(first)) {}

  /// The newest published snapshot; null before the first publish.
  std::shared_ptr<const T> read() const {
    const std::lock_guard lock(mutex_);
    return current_;
  }

  /// Makes `next` what later reads see. Earlier readers keep theirs; the old value dies with its last reader.
  void publish(std::shared_ptr<const T> next) {
    // The old snapshot is destroyed after the lock is gone: its destructor may be long.
    const std::lock_guard lock(mutex_);
    current_.swap(next);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> current_;
};

}  // namespace alluvium
