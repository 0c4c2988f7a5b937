// Requests that read the store: session history, status, documents, dead letters.
//
// Purpose: keeps disk reads off the I/O thread; one thread answers them in order, and another what
//          takes as long as reading the whole bank.
// Threads: thread-safe; two threads of its own.
#pragma once

#include <string>

#include "completion_queue.h"
#include "worker_pool.h"

namespace alluvium::service {

class StoreDesk {
 public:
  /// engine and completions must outlive it.
  StoreDesk(Engine& engine, CompletionQueue& completions);

  /// Queues HELLO, STATUS, DOCUMENT_LIST, DOCUMENT_GET, DEAD_LETTER, DEAD_LETTER_LIST, HELD_*, READER_*
  /// or MEMORY_*; false when the desk is full.
  bool take(const std::string& client, Message message);

  /// Answers what is queued, then joins.
  void finish() {
    pool_.finish();
    upkeep_.finish();
  }

 private:
  void answer(const std::string& client, const Message& message);
  Message reply_to(const Message& message);
  Message list_documents(const Message& message);
  Message get_document(const Message& message);
  Message add_dead_letter(const Message& message);
  Message list_dead_letters(const Message& message);
  Message list_held(const Message& message);
  Message admit_held(const Message& message);

  Engine& engine_;
  CompletionQueue& completions_;
  WorkerPool pool_;  // these last: their threads use everything above
  WorkerPool upkeep_;
};

}  // namespace alluvium::service
