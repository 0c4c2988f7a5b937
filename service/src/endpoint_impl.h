// The endpoint's I/O thread: what it owns and what it does with each message.
//
// Threads: the private part after start() belongs to the I/O thread, except the desks and workers,
//          which are thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "alluvium/service/endpoint.h"
#include "completion_queue.h"
#include "credit_ledger.h"
#include "flush_waiter.h"
#include "journal_worker.h"
#include "postman.h"
#include "question_desk.h"
#include "store_desk.h"
#include "zmq_socket.h"

namespace alluvium::service {

class Endpoint::Impl {
 public:
  Impl(const EndpointConfiguration& configuration, const IngestConfiguration& ingest);
  ~Impl();

  void start(Engine& engine);
  void stop();

  std::string address;
  std::string events_address;

 private:
  /// running: everything; draining: no new requests, replies still go out; finished: the I/O thread
  /// ends.
  enum class Phase { running, draining, finished };

  /// A connected client.
  struct Peer {
    std::string session;  // hex; empty before HELLO
    int64_t strikes = 0;  // messages sent without credit
    int64_t heard_us = 0;
  };

  // ---- The loop (endpoint.cc)
  void run();
  void receive_some();
  void handle_frames(const std::string& client, const Frames& frames, bool overflow);
  void handle_completions();
  void handle(Reply& reply);
  void handle(SessionOpened& opened);
  void handle(Journaled& journaled);
  void handle(Event& event);
  void top_up_credit();
  void sweep_idle();
  void post(const std::string& client, const Message& message);
  void lose(const std::string& client);
  void close_session(const std::string& client);

  // ---- Requests (endpoint_requests.cc)
  void dispatch(const std::string& client, Message message, std::size_t cost);
  void on_hello(const std::string& client, Message message);
  void on_document(const std::string& client, const Message& message, std::size_t cost);
  void on_flush(const std::string& client, const Message& message);
  void on_query(const std::string& client, const Message& message);
  void on_ping(const std::string& client, const Message& message);
  void on_store_request(const std::string& client, Message message);
  void refuse_without_credit(const std::string& client, const Message& message);
  void refuse_document(const std::string& client, const Message& message, WireError code,
                       const std::string& reason);
  memory_bank::LogEntry read_entry(const Message& message, const std::string& session) const;

  const EndpointConfiguration configuration_;
  const IngestConfiguration ingest_;
  const std::string
      instance_;  // names this start of the service, so that clients notice another one
  ZmqContext context_;
  std::unique_ptr<ZmqSocket> router_;
  std::unique_ptr<ZmqSocket> events_;
  CompletionQueue completions_;
  CreditLedger ledger_;
  std::unique_ptr<Postman> postman_;
  std::map<std::string, Peer> peers_;                // by routing id
  std::map<std::string, std::string> sessions_;      // session to routing id
  std::map<std::string, uint64_t> event_sequences_;  // by namespace
  int64_t topped_up_us_ = 0;
  int64_t swept_us_ = 0;

  Engine* engine_ = nullptr;
  std::unique_ptr<FlushWaiter> flushes_;
  std::unique_ptr<JournalWorker> journal_;
  std::unique_ptr<QuestionDesk> questions_;
  std::unique_ptr<StoreDesk> store_desk_;
  std::atomic<Phase> phase_ = Phase::running;
  std::jthread thread_;
};

}  // namespace alluvium::service
