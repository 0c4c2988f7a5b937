#include "alluvium/service/client.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "alluvium/core/clock.h"
#include "client_link.h"
#include "session_id.h"
#include "wire_documents.h"

namespace alluvium::service {
namespace {

constexpr int64_t kTurnMs = 200;
constexpr double kHelloMs = 10000;  // before a HELLO counts as lost

ErrorKind kind_of(WireError code) {
  switch (code) {
    case WireError::busy:
    case WireError::deadline:
    case WireError::degraded:
      return ErrorKind::unavailable;
    case WireError::disk_full:
    case WireError::credit_exceeded:
      return ErrorKind::resource_exhausted;
    case WireError::internal:
      return ErrorKind::internal_error;
    case WireError::version:
      return ErrorKind::not_supported;
    case WireError::bad_request:
    case WireError::unauthorized:
    case WireError::forbidden:
    case WireError::not_found:
    case WireError::conflict:
    case WireError::stale_version:
    case WireError::precondition:
    case WireError::too_large:
      return ErrorKind::invalid_argument;
  }
  return ErrorKind::internal_error;
}

WireError code_of(const Message& nack) {
  return parse_wire_error(nack.error_code).value_or(WireError::internal);
}

std::size_t size_of(const Frames& frames) {
  std::size_t bytes = 0;
  for (const std::string& frame : frames) {
    bytes += frame.size();
  }
  return bytes;
}

}  // namespace

RequestRefused::RequestRefused(WireError code, const std::string& reason, const char* file,
                               int line)
    : Error(kind_of(code), reason, file, line), code_(code) {}

class Client::Impl {
 public:
  explicit Impl(const ClientOptions& options)
      : options_(options),
        session_(options.session.empty() ? make_session_id() : options.session),
        link_(options) {
    ALLUVIUM_CHECK(session_.size() == kSessionBytes, "a session id has {} bytes, got {}",
                   kSessionBytes, session_.size());
  }

  std::function<void(const PublishResult&)> on_result;

  uint64_t publish(Message message);
  void drain();
  Message request(Message message);
  Answer ask(const Question& question, const backbone::TextCallback& on_text, int64_t deadline_ms);

 private:
  /// A document sent or to be sent, until its result is known.
  struct Pending {
    uint64_t sequence = 0;
    Frames frames;
  };

  void open_session();
  bool greet();
  void send_ready();
  void pump();
  std::optional<Message> pump_for(uint64_t request);
  void handle_stream(const Message& message);
  void acknowledge(uint64_t cumulative);
  void refuse(const Message& nack);
  void deliver_results();

  const ClientOptions options_;
  const std::string session_;
  ClientLink link_;
  bool is_open_ = false;
  bool lost_session_ = false;
  uint64_t next_request_ = 1;
  uint64_t next_sequence_ = 1;
  int64_t credit_messages_ = 0;
  int64_t credit_bytes_ = 0;
  std::deque<Pending> pending_;  // in sequence order
  std::vector<PublishResult> results_;
  std::size_t sent_ = 0;  // pending_[0, sent_) are on their way
};

/// HELLO until a WELCOME comes; what is not acknowledged by then is sent again.
void Client::Impl::open_session() {
  link_.keep_session("");
  link_.expect();
  while (!greet()) {
  }
  sent_ = 0;
  is_open_ = true;
  lost_session_ = false;
  link_.keep_session(session_);
}

/// One HELLO. False when its WELCOME did not come: the service was restarted, stops or lost it. Each HELLO has a request id of its own,
/// because credit counts from the last one the service took.
bool Client::Impl::greet() {
  Message hello(Command::hello, next_request_++);
  hello.session = session_;
  hello.minor_version = kProtocolMinor;
  hello.credit_messages = options_.window_messages;
  hello.credit_bytes = options_.window_bytes;
  link_.send_patiently(hello);
  const int64_t restarts = link_.restarts();
  const Stopwatch watch;
  while (watch.elapsed_ms() < kHelloMs) {
    const auto message = link_.receive(kTurnMs);
    // Everything else from before the WELCOME belongs to the time before: credit that is void, refusals of what is sent again anyway.
    if (message && message->request == hello.request) {
      if (message->is(Command::welcome)) {
        credit_messages_ = static_cast<int64_t>(message->credit_messages);
        credit_bytes_ = static_cast<int64_t>(message->credit_bytes);
        next_sequence_ = std::max(next_sequence_, message->cumulative + 1);
        acknowledge(message->cumulative);
        return true;
      }
      if (message->is(Command::nack) && code_of(*message) != WireError::busy) {
        throw RequestRefused(code_of(*message), message->error_text);
      }
    }
    if (link_.restarts() != restarts) {
      return false;
    }
  }
  return false;
}

void Client::Impl::send_ready() {
  while (sent_ < pending_.size() && credit_messages_ > 0 && credit_bytes_ > 0) {
    const Pending& next = pending_[sent_];
    if (!link_.send(next.frames)) {
      return;
    }
    --credit_messages_;
    credit_bytes_ -= static_cast<int64_t>(size_of(next.frames));
    ++sent_;
  }
}

/// One step of the stream: at most one message in, then out what may go.
void Client::Impl::pump() {
  if (const auto message = link_.receive(kTurnMs)) {
    handle_stream(*message);
  }
  if (lost_session_) {
    open_session();
  }
  send_ready();
}

void Client::Impl::handle_stream(const Message& message) {
  if (message.is(Command::ack) || message.is(Command::credit)) {
    credit_messages_ += static_cast<int64_t>(message.credit_messages);
    credit_bytes_ += static_cast<int64_t>(message.credit_bytes);
    acknowledge(message.cumulative);
  } else if (message.is(Command::nack)) {
    const WireError code = code_of(message);
    if (code == WireError::version) {
      throw RequestRefused(code, message.error_text);
    }
    // Without a session nothing after this document was taken either: the new session sends all of it again. A service that is too busy
    // for a document closes the session for that reason.
    if (code == WireError::precondition || (code == WireError::busy && message.sequence != 0)) {
      lost_session_ = is_open_;
    } else if (message.sequence != 0) {
      refuse(message);
      lost_session_ = lost_session_ || code == WireError::credit_exceeded;
    }
  }
}

void Client::Impl::acknowledge(uint64_t cumulative) {
  while (!pending_.empty() && pending_.front().sequence <= cumulative) {
    const uint64_t sequence = pending_.front().sequence;
    pending_.pop_front();
    sent_ = sent_ > 0 ? sent_ - 1 : 0;
    results_.push_back({sequence, true, WireError::internal, ""});
  }
}

void Client::Impl::refuse(const Message& nack) {
  const auto found = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    return pending.sequence == nack.sequence;
  });
  if (found == pending_.end()) {
    return;
  }
  sent_ -= static_cast<std::size_t>(found - pending_.begin()) < sent_ ? 1 : 0;
  pending_.erase(found);
  results_.push_back({nack.sequence, false, code_of(nack), nack.error_text});
}

/// Hands out what is known, between messages: never before put() has told the caller the sequence.
void Client::Impl::deliver_results() {
  for (const PublishResult& result : std::exchange(results_, {})) {
    if (on_result) {
      on_result(result);
    }
  }
}

uint64_t Client::Impl::publish(Message message) {
  if (!is_open_) {
    open_session();
  }
  deliver_results();
  const uint64_t sequence = next_sequence_++;
  message.sequence = sequence;
  pending_.push_back({sequence, encode_message(message)});
  link_.expect();
  send_ready();
  // Acknowledgements are taken in when they are there, and waited for when this document cannot go yet.
  while (const auto waiting = link_.receive(0)) {
    handle_stream(*waiting);
  }
  while (sent_ < pending_.size() || lost_session_) {
    pump();
  }
  return sequence;
}

void Client::Impl::drain() {
  link_.expect();
  deliver_results();
  while (!pending_.empty()) {
    pump();
    deliver_results();
  }
}

/// The next message that answers `request`; everything else goes to the stream.
std::optional<Message> Client::Impl::pump_for(uint64_t request) {
  auto message = link_.receive(kTurnMs);
  if (message && message->request == request) {
    return message;
  }
  if (message) {
    handle_stream(*message);
  }
  if (lost_session_) {
    open_session();
  }
  send_ready();
  deliver_results();
  return std::nullopt;
}

Message Client::Impl::request(Message message) {
  message.request = next_request_++;
  link_.expect();
  link_.send_patiently(message);
  const int64_t restarts = link_.restarts();
  while (true) {
    const auto reply = pump_for(message.request);
    if (reply && reply->is(Command::nack)) {
      throw RequestRefused(code_of(*reply), reply->error_text);
    }
    if (reply) {
      return *reply;
    }
    if (link_.restarts() != restarts) {
      throw Unavailable("the service was restarted while it worked on this request; try again");
    }
  }
}

Answer Client::Impl::ask(const Question& question, const backbone::TextCallback& on_text,
                         int64_t deadline_ms) {
  const Message query = query_message(question, next_request_++, deadline_ms);
  link_.expect();
  link_.send_patiently(query);
  const int64_t restarts = link_.restarts();
  Answer answer;
  bool cancelled = false;
  while (true) {
    const auto reply = pump_for(query.request);
    if (link_.restarts() != restarts) {
      throw Unavailable("the service was restarted while it answered; ask again");
    }
    if (!reply) {
      continue;
    }
    if (reply->is(Command::nack)) {
      throw RequestRefused(code_of(*reply), reply->error_text);
    }
    if (reply->is(Command::token) && !cancelled && on_text && !on_text(reply->body("text"))) {
      cancelled = true;
      link_.send_patiently(Message(Command::cancel, query.request));
    } else if (reply->is(Command::cite)) {
      answer.citations = citations_from_json(reply->body("json"));
    } else if (reply->is(Command::done)) {
      answer.text = reply->body("text");
      read_answer_json(reply->body("json"), answer);
      return answer;
    }
  }
}

Client::Client(const ClientOptions& options) : impl_(std::make_unique<Impl>(options)) {}

Client::~Client() = default;

void Client::connect() { impl_->request(Message(Command::ping)); }

void Client::on_result(std::function<void(const PublishResult&)> callback) {
  impl_->on_result = std::move(callback);
}

uint64_t Client::put(const Document& document) {
  validate_document(document);
  return impl_->publish(put_message(document, 0));
}

uint64_t Client::erase(const std::string& name_space, const std::string& id, uint64_t version) {
  return impl_->publish(erase_message(name_space, id, version, 0));
}

void Client::drain() { impl_->drain(); }

int64_t Client::flush(int64_t timeout_ms) {
  impl_->drain();
  Message message(Command::flush);
  message.level = AckLevel::applied;
  message.deadline_ms = static_cast<uint64_t>(std::max<int64_t>(0, timeout_ms));
  return static_cast<int64_t>(impl_->request(std::move(message)).offset.value_or(0));
}

Answer Client::ask(const Question& question, const backbone::TextCallback& on_text,
                   int64_t deadline_ms) {
  return impl_->ask(question, on_text, deadline_ms);
}

std::vector<memory_bank::DocumentSummary> Client::list_documents(const std::string& name_space,
                                                                 const std::string& after_id,
                                                                 int64_t limit) {
  Message message(Command::document_list);
  message.name_space = name_space;
  message.attributes["after"] = after_id;
  message.attributes["limit"] = fmt::format("{}", limit);
  return summaries_from_json(impl_->request(std::move(message)).body("json"));
}

std::optional<StoredDocument> Client::find_document(const std::string& name_space,
                                                    const std::string& id) {
  Message message(Command::document_get);
  message.name_space = name_space;
  message.document_id = id;
  try {
    const Message reply = impl_->request(std::move(message));
    const auto summaries = summaries_from_json(reply.body("json"));
    ALLUVIUM_CHECK(summaries.size() == 1, "the service described {} documents instead of one",
                   summaries.size());
    return StoredDocument{read_document(reply), summaries.front()};
  } catch (const RequestRefused& refused) {
    if (refused.code() == WireError::not_found) {
      return std::nullopt;
    }
    throw;
  }
}

std::vector<memory_bank::HeldDocument> Client::held_documents(int64_t limit) {
  Message message(Command::held_list);
  message.attributes["limit"] = fmt::format("{}", limit);
  return held_from_json(impl_->request(std::move(message)).body("json"));
}

std::optional<memory_bank::HeldDocument> Client::held_document(const std::string& name_space,
                                                               const std::string& id) {
  Message message(Command::held_list);
  message.name_space = name_space;
  message.document_id = id;
  auto held = held_from_json(impl_->request(std::move(message)).body("json"));
  return held.empty() ? std::nullopt : std::optional(std::move(held.front()));
}

int64_t Client::admit(const std::string& name_space, const std::string& id) {
  Message message(Command::held_admit);
  message.name_space = name_space;
  message.document_id = id;
  return static_cast<int64_t>(impl_->request(std::move(message)).offset.value_or(0));
}

std::string Client::memories() {
  return std::string(impl_->request(Message(Command::memory_stat)).body("json"));
}

std::string Client::recompress_memories(const std::string& preset) {
  Message message(Command::memory_recompress);
  message.attributes["preset"] = preset;
  return std::string(impl_->request(std::move(message)).body("json"));
}

std::vector<std::string> Client::verify_memories() {
  return findings_from_json(impl_->request(Message(Command::memory_verify)).body("json"));
}

std::string Client::compact_memories() {
  return std::string(impl_->request(Message(Command::memory_compact)).body("json"));
}

std::vector<ReaderStatus> Client::readers() {
  return readers_from_json(impl_->request(Message(Command::reader_list)).body("json"));
}

std::vector<ReaderStatus> Client::load_reader(const std::string& directory) {
  Message message(Command::reader_load);
  message.attributes["directory"] = directory;
  return readers_from_json(impl_->request(message).body("json"));
}

std::vector<ReaderStatus> Client::unload_reader(const std::string& name) {
  Message message(Command::reader_unload);
  message.attributes["name"] = name;
  return readers_from_json(impl_->request(message).body("json"));
}

std::vector<ReaderStatus> Client::rollback_reader() {
  return readers_from_json(impl_->request(Message(Command::reader_rollback)).body("json"));
}

std::string Client::status() {
  return std::string(impl_->request(Message(Command::status)).body("json"));
}

void Client::add_dead_letter(const memory_bank::DeadLetter& letter) {
  impl_->request(dead_letter_message(letter, 0));
}

std::vector<memory_bank::DeadLetter> Client::dead_letters(int64_t limit) {
  Message message(Command::dead_letter_list);
  message.attributes["limit"] = fmt::format("{}", limit);
  return dead_letters_from_json(impl_->request(std::move(message)).body("json"));
}

}  // namespace alluvium::service
