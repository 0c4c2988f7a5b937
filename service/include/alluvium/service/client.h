// The other end of the wire: publish, ask and look up from any program.
//
// Purpose: credit, pipelining, acknowledgements, keep-alive and reconnecting, behind calls that
//          wait.
// Threads: owned by one thread; callbacks run on it, inside the calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "alluvium/core/document.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/engine.h"
#include "alluvium/service/protocol.h"

namespace alluvium::service {

struct ClientOptions {
  std::string endpoint = "tcp://127.0.0.1:7400";
  /// kSessionBytes bytes; empty = a fresh one. A durable publisher keeps its own
  std::string session;
  int64_t connect_timeout_ms = 3000;  ///< for the first sign of life
  /// A service silent for longer is given up; shorter absences are ridden out
  int64_t silence_timeout_ms = 30000;
  uint64_t window_messages = 0;  ///< credit wanted; 0 = what the service gives
  uint64_t window_bytes = 0;
};

/// What became of a document or delete: exactly one for each.
struct PublishResult {
  uint64_t sequence = 0;
  bool accepted = false;  ///< durable at the service; else refused for the reason below
  WireError code = WireError::internal;
  std::string reason;
};

struct StoredDocument {
  Document document;
  memory_bank::DocumentSummary summary;
};

/// The service refused a request.
class RequestRefused : public Error {
 public:
  RequestRefused(WireError code, const std::string& reason, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE());

  WireError code() const { return code_; }

 private:
  WireError code_;
};

/// Every call that talks to the service throws Unavailable when nothing answers, and RequestRefused when the answer is no.
class Client {
 public:
  /// Throws InvalidArgument on a malformed endpoint or session. Talks to nobody yet.
  explicit Client(const ClientOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Finds out whether a service answers.
  void connect();

  // ---- Publishing. The first call opens the session.

  /// Receives the result of each document inside a later call than the put() or erase() that sent it.
  void on_result(std::function<void(const PublishResult&)> callback);

  /// Sends a document and returns its sequence; waits only for credit. Throws InvalidArgument on a document that cannot be valid.
  uint64_t put(const Document& document);

  /// Sends a delete of every version up to `version`.
  uint64_t erase(const std::string& name_space, const std::string& id, uint64_t version);

  /// Waits until every result has come.
  void drain();

  /// Waits until everything the service has logged answers questions. Returns the log offset that covers. timeout_ms: 0 = no limit.
  int64_t flush(int64_t timeout_ms = 0);

  // ---- Asking

  /// Streams the answer's pieces through `on_text`, which may return false to cancel. deadline_ms: 0 = none.
  Answer ask(const Question& question, const backbone::TextCallback& on_text = nullptr,
             int64_t deadline_ms = 0);

  // ---- Looking up

  /// Documents of a namespace in id order after `after_id`; an empty namespace lists all. The service gives at most 1,000 at once.
  std::vector<memory_bank::DocumentSummary> list_documents(const std::string& name_space,
                                                           const std::string& after_id = "",
                                                           int64_t limit = 1000);
  /// Nothing when there is no such document.
  std::optional<StoredDocument> find_document(const std::string& name_space, const std::string& id);

  /// Documents that the gate of the stream kept out, newest first; their texts are cut to 1,000 bytes.
  std::vector<memory_bank::HeldDocument> held_documents(int64_t limit = 1000);
  /// Nothing when no such document is held.
  std::optional<memory_bank::HeldDocument> held_document(const std::string& name_space,
                                                         const std::string& id);
  /// Publishes a held document past the gate; returns its log offset. Refused with not_found when it is not held.
  int64_t admit(const std::string& name_space, const std::string& id);

  /// A JSON object; docs/FORMATS.md names its fields.
  std::string status();

  // ---- Memories

  /// As report_to_json (memory_report.h).
  std::string memories();
  /// Has all memories made anew under this preset, in the background; returns as memories().
  std::string recompress_memories(const std::string& preset);
  /// Has every record read; one line for each thing found wrong. What is damaged is made anew.
  std::vector<std::string> verify_memories();
  /// Has the bytes of memories that are gone given back to the disk; returns as memories().
  std::string compact_memories();

  // ---- Readers; each call returns those of the service after it

  std::vector<ReaderStatus> readers();
  /// `directory` is on the service's machine.
  std::vector<ReaderStatus> load_reader(const std::string& directory);
  /// Empty: the active one.
  std::vector<ReaderStatus> unload_reader(const std::string& name);
  std::vector<ReaderStatus> rollback_reader();

  void add_dead_letter(const memory_bank::DeadLetter& letter);
  std::vector<memory_bank::DeadLetter> dead_letters(int64_t limit = 1000);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// The line people read when nothing answers at `endpoint`.
std::string no_service_message(const std::string& endpoint);

}  // namespace alluvium::service
