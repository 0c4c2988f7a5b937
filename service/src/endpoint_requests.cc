// What the endpoint does with each command.
#include <algorithm>
#include <utility>

#include "alluvium/core/clock.h"
#include "endpoint_impl.h"
#include "session_id.h"
#include "wire_documents.h"

namespace alluvium::service {
namespace {

constexpr int64_t kStrikes = 3;
constexpr const char* kRetryAfterMs = "200";

int64_t deadline_of(const Message& message) {
  constexpr uint64_t kLongestMs = uint64_t{24} * 3600 * 1000;
  if (message.deadline_ms == 0) {
    return 0;
  }
  const auto wait_ms = static_cast<int64_t>(std::min(message.deadline_ms, kLongestMs));
  return SystemClock().monotonic_us() + wait_ms * 1000;
}

Message make_busy(const std::string& reason, uint64_t request) {
  Message nack = make_nack(WireError::busy, reason, request);
  nack.attributes["retry_after_ms"] = kRetryAfterMs;
  return nack;
}

}  // namespace

void Endpoint::Impl::dispatch(const std::string& client, Message message, std::size_t cost) {
  switch (static_cast<Command>(message.command)) {
    case Command::hello:
      return on_hello(client, std::move(message));
    case Command::put:
    case Command::erase:
      return on_document(client, message, cost);
    case Command::flush:
      return on_flush(client, message);
    case Command::query:
      return on_query(client, message);
    case Command::cancel:
      if (!questions_->cancel(client, message.request)) {
        post(client, make_nack(WireError::not_found, "no such question is open", message.request));
      }
      return;
    case Command::ping:
      return on_ping(client, message);
    case Command::bye:
      post(client, Message(Command::bye, message.request));
      return lose(client);
    case Command::status:
    case Command::reader_list:
    case Command::reader_load:
    case Command::reader_rollback:
    case Command::reader_unload:
    case Command::memory_stat:
    case Command::memory_recompress:
    case Command::memory_verify:
    case Command::memory_compact:
    case Command::document_list:
    case Command::document_get:
    case Command::dead_letter:
    case Command::dead_letter_list:
    case Command::held_list:
    case Command::held_admit:
      return on_store_request(client, std::move(message));
    case Command::welcome:
    case Command::credit:
    case Command::ack:
    case Command::nack:
    case Command::pong:
    case Command::token:
    case Command::done:
    case Command::cite:
      post(client, make_nack(WireError::bad_request,
                             fmt::format("{} is for the service to send",
                                         to_string(static_cast<Command>(message.command))),
                             message.request));
      return;
  }
  post(client,
       make_nack(WireError::bad_request,
                 fmt::format("command {} is not known here", message.command), message.request));
}

void Endpoint::Impl::on_hello(const std::string& client, Message message) {
  if (message.session.empty()) {
    post(client,
         make_nack(WireError::bad_request,
                   fmt::format("HELLO needs a session id of {} bytes (key 17)", kSessionBytes),
                   message.request));
    return;
  }
  on_store_request(client, std::move(message));
}

void Endpoint::Impl::on_store_request(const std::string& client, Message message) {
  const uint64_t request = message.request;
  if (!store_desk_->take(client, std::move(message))) {
    post(client, make_busy("too many requests are waiting", request));
  }
}

void Endpoint::Impl::on_document(const std::string& client, const Message& message,
                                 std::size_t cost) {
  const std::string session = peers_[client].session;
  if (session.empty()) {
    refuse_document(client, message, WireError::precondition, "start the session with HELLO");
    return;
  }
  if (message.sequence == 0 || message.sequence > uint64_t{INT64_MAX}) {
    refuse_document(client, message, WireError::bad_request,
                    "documents need a sequence in [1, 2^63) (key 5)");
    return;
  }
  if (!ledger_.spend(client, cost)) {
    refuse_without_credit(client, message);
    return;
  }
  try {
    JournalEntry entry{client, cost, read_entry(message, session)};
    if (journal_->submit(std::move(entry)) != PushResult::pushed) {
      // A later document must not be logged before this one is sent again: the session ends here.
      close_session(client);
      refuse_document(client, message, WireError::busy, "the ingest queue takes nothing now");
    }
  } catch (const InvalidArgument& error) {
    ledger_.settle(client, 1, cost);
    const bool large = message.body("text").size() > ingest_.limits.text_bytes;
    refuse_document(client, message, large ? WireError::too_large : WireError::bad_request,
                    error.what());
  }
}

memory_bank::LogEntry Endpoint::Impl::read_entry(const Message& message,
                                                 const std::string& session) const {
  memory_bank::LogEntry entry;
  entry.session = session;
  entry.sequence = message.sequence;
  entry.document = read_document(message);
  if (message.is(Command::put)) {
    validate_document(entry.document, ingest_.limits);
    return entry;
  }
  entry.kind = memory_bank::LogEntry::Kind::erase;
  Document named = entry.document;
  named.text = "erase";  // a delete has no text; everything else must be as for a document
  validate_document(named, ingest_.limits);
  return entry;
}

void Endpoint::Impl::refuse_document(const std::string& client, const Message& message,
                                     WireError code, const std::string& reason) {
  Message nack = make_nack(code, reason, message.request);
  nack.sequence = message.sequence;
  if (code == WireError::busy) {
    nack.attributes["retry_after_ms"] = kRetryAfterMs;
  }
  post(client, nack);
}

void Endpoint::Impl::refuse_without_credit(const std::string& client, const Message& message) {
  Peer& peer = peers_[client];
  ++peer.strikes;
  const bool closed = peer.strikes >= kStrikes;
  if (closed) {
    close_session(client);
    peer.strikes = 0;
  }
  refuse_document(client, message, WireError::credit_exceeded,
                  closed ? "sent without credit for the third time; the session is closed"
                         : "sent without credit; the document was dropped");
}

void Endpoint::Impl::on_flush(const std::string& client, const Message& message) {
  const FlushRequest flush{client, message.request, deadline_of(message), 0};
  if (journal_->submit(flush) != PushResult::pushed) {
    post(client, make_busy("the ingest queue takes nothing now", message.request));
  }
}

void Endpoint::Impl::on_query(const std::string& client, const Message& message) {
  if (message.request == 0) {
    post(client, make_nack(WireError::bad_request, "QUERY needs a request id (key 1)"));
    return;
  }
  try {
    switch (
        questions_->take(client, message.request, read_question(message), deadline_of(message))) {
      case QuestionDesk::Taken::taken:
        return;
      case QuestionDesk::Taken::busy:
        return post(client, make_busy("too many questions are waiting", message.request));
      case QuestionDesk::Taken::duplicate:
        return post(client, make_nack(WireError::bad_request,
                                      "a question with this request id is open", message.request));
    }
  } catch (const InvalidArgument& error) {
    post(client, make_nack(WireError::bad_request, error.what(), message.request));
  }
}

void Endpoint::Impl::on_ping(const std::string& client, const Message& message) {
  if (!message.session.empty() && peers_[client].session != session_to_hex(message.session)) {
    post(client,
         make_nack(WireError::precondition, "start the session with HELLO", message.request));
    return;
  }
  Message pong(Command::pong, message.request);
  pong.timestamp_ns = SystemClock().wall_us() * 1000;
  pong.attributes["instance"] = instance_;
  pong.attributes["backlog"] = fmt::format("{}", engine_->backlog());
  post(client, pong);
}

}  // namespace alluvium::service
