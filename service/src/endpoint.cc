#include "alluvium/service/endpoint.h"

#include <algorithm>

#include <zmq.h>

#include "alluvium/core/clock.h"
#include "endpoint_impl.h"
#include "loopback.h"
#include "session_id.h"
#include "wire_documents.h"

namespace alluvium::service {
namespace {

constexpr int64_t kIdleWaitMs = 100;
constexpr int64_t kBusyWaitMs = 10;  // while an outbox waits for its client
constexpr int64_t kTopUpUs = 20'000;
constexpr int64_t kSweepUs = 10'000'000;
constexpr int64_t kIdlePeerUs = int64_t{10} * 60 * 1'000'000;
constexpr std::size_t kPeerLimit = 4096;
constexpr int kReceiveTurn = 256;  // messages read before completions get their turn

SocketOptions socket_options(const EndpointConfiguration& configuration) {
  SocketOptions options;
  options.heartbeat_ms = configuration.heartbeat_ms;
  // Twice the largest window: credit is the limiter, never libzmq.
  options.high_water = 2 * configuration.credit_messages;
  options.ipv6 = configuration.address == "::1";
  return options;
}

std::string bind_address(const EndpointConfiguration& configuration, int64_t port) {
  const std::string host = zmq_host(configuration.address);
  return port == 0 ? fmt::format("tcp://{}:*", host) : fmt::format("tcp://{}:{}", host, port);
}

CreditOptions credit_options(const EndpointConfiguration& endpoint,
                             const IngestConfiguration& ingest) {
  CreditOptions options;
  options.window_messages = endpoint.credit_messages;
  options.window_bytes = static_cast<int64_t>(endpoint.credit_bytes);
  options.budget_messages = ingest.queue_documents;
  options.budget_bytes = static_cast<int64_t>(ingest.queue_bytes);
  return options;
}

const char* to_string(Event::Kind kind) {
  switch (kind) {
    case Event::Kind::adapted:
      return "adapted";
    case Event::Kind::deleted:
      return "deleted";
    case Event::Kind::rejected:
      return "rejected";
    case Event::Kind::held:
      return "held";
  }
  return "unknown";
}

std::string big_endian(uint64_t value) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>(value >> shift));
  }
  return bytes;
}

}  // namespace

Endpoint::Impl::Impl(const EndpointConfiguration& configuration, const IngestConfiguration& ingest)
    : configuration_(configuration),
      ingest_(ingest),
      instance_(session_to_hex(make_session_id())),
      ledger_(credit_options(configuration, ingest)) {
  check_loopback(configuration.address);
  const SocketOptions options = socket_options(configuration);
  router_ = std::make_unique<ZmqSocket>(context_, ZMQ_ROUTER, options);
  router_->set(ZMQ_ROUTER_MANDATORY, 1);
  router_->set(ZMQ_ROUTER_HANDOVER, 0);
  router_->bind(bind_address(configuration, configuration.port));
  events_ = std::make_unique<ZmqSocket>(context_, ZMQ_PUB, options);
  events_->bind(bind_address(configuration, configuration.events_port));
  address = router_->bound_address();
  events_address = events_->bound_address();
  postman_ = std::make_unique<Postman>(*router_);
}

Endpoint::Impl::~Impl() { stop(); }

void Endpoint::Impl::start(Engine& engine) {
  engine_ = &engine;
  flushes_ = std::make_unique<FlushWaiter>(engine, completions_);
  const auto queue = static_cast<std::size_t>(2 * ingest_.queue_documents + 1024);
  journal_ = std::make_unique<JournalWorker>(engine, completions_, *flushes_, queue);
  questions_ = std::make_unique<QuestionDesk>(engine, completions_, configuration_.answer_threads);
  store_desk_ = std::make_unique<StoreDesk>(engine, completions_);
  engine.on_event([this](const Event& event) { completions_.push(event); });
  thread_ = std::jthread([this] { run(); });
}

void Endpoint::Impl::stop() {
  if (thread_.joinable()) {
    phase_ = Phase::draining;
    completions_.wake();
    questions_->finish();
    store_desk_->finish();
    journal_->finish();
    flushes_->finish();
    engine_->on_event(nullptr);
    phase_ = Phase::finished;
    completions_.wake();
    thread_.join();
  }
  postman_.reset();
  router_.reset();
  events_.reset();
}

void Endpoint::Impl::run() {
  while (phase_ != Phase::finished) {
    wait_for_input(*router_, completions_.bell(),
                   postman_->is_waiting() ? kBusyWaitMs : kIdleWaitMs);
    for (const std::string& client : postman_->retry()) {
      lose(client);
    }
    handle_completions();
    if (phase_ == Phase::running) {
      receive_some();
      top_up_credit();
      sweep_idle();
    }
  }
  handle_completions();
  postman_->retry();
}

void Endpoint::Impl::receive_some() {
  // Routing id, magic, header and the bodies.
  constexpr std::size_t kMaxFrames = kBodyLimit + 3;
  for (int i = 0; i < kReceiveTurn; ++i) {
    auto received = router_->receive(kMaxFrames);
    if (!received) {
      return;
    }
    const std::string client = received->frames.front();
    received->frames.erase(received->frames.begin());
    if (postman_->is_dropped(client) && !postman_->readmit(client)) {
      continue;
    }
    handle_frames(client, received->frames, received->overflow);
  }
}

void Endpoint::Impl::handle_frames(const std::string& client, const Frames& frames, bool overflow) {
  if (peers_.count(client) == 0 && peers_.size() >= kPeerLimit) {
    post(client, make_nack(WireError::busy, "too many clients are connected"));
    return;
  }
  peers_[client].heard_us = SystemClock().monotonic_us();
  try {
    if (overflow) {
      throw ProtocolError(WireError::bad_request,
                          fmt::format("a message has at most {} bodies", kBodyLimit));
    }
    std::size_t cost = 0;
    for (const std::string& frame : frames) {
      cost += frame.size();
    }
    dispatch(client, decode_message(frames), cost);
  } catch (const ProtocolError& error) {
    Message nack = make_nack(error.code(), error.what(), error.request());
    if (error.code() == WireError::version) {
      nack.attributes["majors"] = fmt::format("{}", kProtocolMajor);
    }
    post(client, nack);
  } catch (const Error& error) {
    post(client, make_nack(wire_error_of(error), error.what()));
  }
}

void Endpoint::Impl::handle_completions() {
  for (Completion& completion : completions_.take()) {
    std::visit([this](auto& held) { handle(held); }, completion);
  }
}

void Endpoint::Impl::handle(Reply& reply) { post(reply.client, reply.message); }

void Endpoint::Impl::handle(SessionOpened& opened) {
  const auto peer = peers_.find(opened.client);
  if (peer == peers_.end()) {
    return;
  }
  const std::string session = session_to_hex(opened.hello.session);
  // A publisher that reconnected has a new routing id; the session is where it is now.
  if (const auto holder = sessions_.find(session); holder != sessions_.end()) {
    close_session(std::string(holder->second));
  }
  close_session(opened.client);
  peer->second.session = session;
  peer->second.strikes = 0;
  sessions_[session] = opened.client;
  ledger_.open(opened.client, opened.hello.credit_messages, opened.hello.credit_bytes);
  const CreditGrant grant = ledger_.grant(opened.client, engine_->backlog());

  Message welcome(Command::welcome, opened.hello.request);
  welcome.session = opened.hello.session;
  welcome.cumulative = opened.cumulative;
  welcome.credit_messages = static_cast<uint64_t>(grant.messages);
  welcome.credit_bytes = static_cast<uint64_t>(grant.bytes);
  welcome.minor_version = std::min(kProtocolMinor, opened.hello.minor_version);
  welcome.attributes["instance"] = instance_;
  welcome.attributes["text_bytes"] = fmt::format("{}", ingest_.limits.text_bytes);
  post(opened.client, welcome);
}

void Endpoint::Impl::handle(Journaled& journaled) {
  ledger_.settle(journaled.client, journaled.messages, journaled.bytes);
  if (journaled.cumulative == 0) {
    return;
  }
  const CreditGrant grant = ledger_.grant(journaled.client, engine_->backlog());
  Message ack(Command::ack);
  ack.cumulative = journaled.cumulative;
  ack.level = AckLevel::journaled;
  ack.credit_messages = static_cast<uint64_t>(grant.messages);
  ack.credit_bytes = static_cast<uint64_t>(grant.bytes);
  post(journaled.client, ack);
}

void Endpoint::Impl::handle(Event& event) {
  Message header(Command::ack);
  header.name_space = event.name_space;
  header.document_id = event.id;
  header.version = event.version;
  header.level = AckLevel::applied;
  header.offset = static_cast<uint64_t>(event.offset);
  header.attributes["kind"] = to_string(event.kind);
  if (!event.reason.empty()) {
    header.attributes["reason"] = event.reason;
  }
  const uint64_t sequence = ++event_sequences_[event.name_space];
  events_->send({fmt::format("{}/doc/{}", event.name_space, event.id), big_endian(sequence),
                 encode_header(header)});
}

void Endpoint::Impl::top_up_credit() {
  const int64_t now_us = SystemClock().monotonic_us();
  if (now_us - topped_up_us_ < kTopUpUs || sessions_.empty()) {
    return;
  }
  topped_up_us_ = now_us;
  const int64_t backlog = engine_->backlog();
  const auto sessions = sessions_;  // post() may close one
  for (const auto& [session, client] : sessions) {
    const CreditGrant grant = ledger_.grant(client, backlog);
    if (grant.any()) {
      Message credit(Command::credit);
      credit.credit_messages = static_cast<uint64_t>(grant.messages);
      credit.credit_bytes = static_cast<uint64_t>(grant.bytes);
      post(client, credit);
    }
  }
}

void Endpoint::Impl::sweep_idle() {
  const int64_t now_us = SystemClock().monotonic_us();
  if (now_us - swept_us_ < kSweepUs) {
    return;
  }
  swept_us_ = now_us;
  std::vector<std::string> idle;
  for (const auto& [client, peer] : peers_) {
    if (now_us - peer.heard_us > kIdlePeerUs) {
      idle.push_back(client);
    }
  }
  for (const std::string& client : idle) {
    lose(client);
    postman_->forget(client);
  }
}

void Endpoint::Impl::post(const std::string& client, const Message& message) {
  if (postman_->post(client, message) == Postman::Posted::lost) {
    lose(client);
  }
}

void Endpoint::Impl::lose(const std::string& client) {
  close_session(client);
  questions_->cancel_all_of(client);
  peers_.erase(client);
}

void Endpoint::Impl::close_session(const std::string& client) {
  const auto peer = peers_.find(client);
  if (peer == peers_.end() || peer->second.session.empty()) {
    return;
  }
  ledger_.close(client);
  sessions_.erase(peer->second.session);
  peer->second.session.clear();
}

Endpoint::Endpoint(const EndpointConfiguration& configuration, const IngestConfiguration& ingest)
    : impl_(std::make_unique<Impl>(configuration, ingest)) {}

Endpoint::~Endpoint() = default;

void Endpoint::start(Engine& engine) { impl_->start(engine); }

void Endpoint::stop() { impl_->stop(); }

const std::string& Endpoint::address() const { return impl_->address; }

const std::string& Endpoint::events_address() const { return impl_->events_address; }

}  // namespace alluvium::service
