#include "completion_queue.h"

#include <cerrno>
#include <cstring>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include "alluvium/core/error.h"

namespace alluvium::service {

CompletionQueue::CompletionQueue() : bell_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (bell_ < 0) {
    throw ResourceExhausted(fmt::format("cannot make an event descriptor: {}", strerror(errno)));
  }
}

CompletionQueue::~CompletionQueue() { close(bell_); }

void CompletionQueue::push(Completion completion) {
  {
    const std::lock_guard lock(mutex_);
    completions_.push_back(std::move(completion));
  }
  wake();
}

std::deque<Completion> CompletionQueue::take() {
  // The bell is silenced first: a completion pushed in between rings it again.
  eventfd_t rings = 0;
  eventfd_read(bell_, &rings);
  const std::lock_guard lock(mutex_);
  return std::exchange(completions_, {});
}

void CompletionQueue::wake() { eventfd_write(bell_, 1); }

}  // namespace alluvium::service
