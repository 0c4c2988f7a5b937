// What workers hand back to the endpoint's I/O thread.
//
// Purpose: workers never touch a socket; they leave a completion here and ring a bell the I/O
//          thread polls together with its sockets. Threads: thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <variant>

#include "alluvium/service/engine.h"
#include "alluvium/service/protocol.h"

namespace alluvium::service {

/// A message for a client.
struct Reply {
  std::string client;  ///< routing id
  Message message;
};

/// A HELLO whose session's history has been looked up.
struct SessionOpened {
  std::string client;
  Message hello;
  uint64_t cumulative = 0;
};

/// Documents of a client are on the disk, or were refused by it.
struct Journaled {
  std::string client;
  std::string session;      ///< hex
  uint64_t cumulative = 0;  ///< 0: nothing new to acknowledge
  int64_t messages = 0;     ///< credit they held
  std::size_t bytes = 0;
};

using Completion = std::variant<Reply, SessionOpened, Journaled, Event>;

class CompletionQueue {
 public:
  /// Throws ResourceExhausted when the system has no file descriptor left.
  CompletionQueue();
  ~CompletionQueue();
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;

  void push(Completion completion);
  /// Everything there, in order; silences the bell. Does not wait.
  std::deque<Completion> take();
  /// Only rings the bell.
  void wake();
  /// Readable while the bell rings.
  int bell() const { return bell_; }

 private:
  int bell_;
  std::mutex mutex_;
  std::deque<Completion> completions_;
};

}  // namespace alluvium::service
