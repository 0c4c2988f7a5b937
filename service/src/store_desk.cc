#include "store_desk.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "session_id.h"
#include "wire_documents.h"

namespace alluvium::service {
namespace {

constexpr std::size_t kQueue = 1024;
constexpr std::size_t kUpkeepQueue = 8;
constexpr int64_t kListLimit = 1000;
constexpr std::size_t kLetterBytes = 4096;

int64_t limit_of(const Message& message) {
  const std::string text = message.attribute("limit", fmt::format("{}", kListLimit));
  int64_t limit = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  ALLUVIUM_CHECK(error == std::errc() && end == text.data() + text.size() && limit > 0,
                 "attribute limit must be a positive number, got '{}'", text);
  return std::min(limit, kListLimit);
}

Message json_reply(const Message& to, std::string json) {
  Message reply;
  reply.command = to.command;
  reply.request = to.request;
  reply.bodies.emplace_back("json", std::move(json));
  return reply;
}

}  // namespace

StoreDesk::StoreDesk(Engine& engine, CompletionQueue& completions)
    : engine_(engine), completions_(completions), pool_(1, kQueue), upkeep_(1, kUpkeepQueue) {}

bool StoreDesk::take(const std::string& client, Message message) {
  const bool long_work = message.is(Command::memory_verify) || message.is(Command::memory_compact);
  WorkerPool& pool = long_work ? upkeep_ : pool_;
  return pool.submit([this, client, message = std::move(message)] { answer(client, message); }) ==
         PushResult::pushed;
}

void StoreDesk::answer(const std::string& client, const Message& message) {
  try {
    if (message.is(Command::hello)) {
      const uint64_t last = engine_.store().last_sequence(session_to_hex(message.session));
      completions_.push(SessionOpened{client, message, last});
    } else {
      completions_.push(Reply{client, reply_to(message)});
    }
  } catch (const Error& error) {
    completions_.push(
        Reply{client, make_nack(wire_error_of(error), error.what(), message.request)});
  } catch (const std::exception& error) {
    completions_.push(Reply{client, make_nack(WireError::internal, error.what(), message.request)});
  }
}

Message StoreDesk::reply_to(const Message& message) {
  if (message.is(Command::status)) {
    return json_reply(message, status_to_json(engine_.status()));
  }
  if (message.is(Command::reader_load)) {
    engine_.readers().load(message.attribute("directory"));
    return json_reply(message, readers_to_json(engine_.readers().list()));
  }
  if (message.is(Command::reader_unload)) {
    engine_.readers().unload(message.attribute("name"));
    return json_reply(message, readers_to_json(engine_.readers().list()));
  }
  if (message.is(Command::reader_rollback)) {
    engine_.readers().rollback();
    return json_reply(message, readers_to_json(engine_.readers().list()));
  }
  if (message.is(Command::reader_list)) {
    return json_reply(message, readers_to_json(engine_.readers().list()));
  }
  if (message.is(Command::memory_recompress)) {
    engine_.recompress(message.attribute("preset"));
    return json_reply(message, report_to_json(engine_.memories()));
  }
  if (message.is(Command::memory_stat)) {
    return json_reply(message, report_to_json(engine_.memories()));
  }
  if (message.is(Command::memory_verify)) {
    return json_reply(message, findings_to_json(engine_.verify_memories()));
  }
  if (message.is(Command::memory_compact)) {
    engine_.compact_memories();
    return json_reply(message, report_to_json(engine_.memories()));
  }
  if (message.is(Command::document_list)) {
    return list_documents(message);
  }
  if (message.is(Command::document_get)) {
    return get_document(message);
  }
  if (message.is(Command::dead_letter)) {
    return add_dead_letter(message);
  }
  if (message.is(Command::held_list)) {
    return list_held(message);
  }
  if (message.is(Command::held_admit)) {
    return admit_held(message);
  }
  ALLUVIUM_ASSERT(message.is(Command::dead_letter_list));
  return list_dead_letters(message);
}

Message StoreDesk::list_documents(const Message& message) {
  return json_reply(message,
                    summaries_to_json(engine_.store().list(
                        message.name_space, message.attribute("after"), limit_of(message))));
}

Message StoreDesk::get_document(const Message& message) {
  const std::string name_space = namespace_of(message);
  const auto summary = engine_.store().find(name_space, message.document_id);
  const auto document = engine_.store().read_document(name_space, message.document_id);
  if (!summary || !document) {
    return make_nack(
        WireError::not_found,
        fmt::format("there is no document '{}' in namespace '{}'", message.document_id, name_space),
        message.request);
  }
  Message reply = put_message(*document, 0);
  reply.command = message.command;
  reply.request = message.request;
  reply.bodies.emplace_back("json", summaries_to_json({*summary}));
  return reply;
}

Message StoreDesk::add_dead_letter(const Message& message) {
  memory_bank::DeadLetter letter = read_dead_letter(message);
  letter.content.resize(std::min(letter.content.size(), kLetterBytes));
  engine_.store().add_dead_letter(letter);
  return Message(Command::dead_letter, message.request);
}

Message StoreDesk::list_dead_letters(const Message& message) {
  return json_reply(message, dead_letters_to_json(engine_.store().dead_letters(limit_of(message))));
}

Message StoreDesk::list_held(const Message& message) {
  std::vector<memory_bank::HeldDocument> held;
  if (message.document_id.empty()) {
    held = engine_.store().held_documents(limit_of(message));
  } else if (auto one = engine_.store().held_document(namespace_of(message), message.document_id)) {
    held.push_back(std::move(*one));
  }
  return json_reply(message, held_to_json(held));
}

// The document takes the way of every other one, past the gate: logged first, then read.
Message StoreDesk::admit_held(const Message& message) {
  const std::string name_space = namespace_of(message);
  const auto held = engine_.store().held_document(name_space, message.document_id);
  if (!held) {
    return make_nack(
        WireError::not_found,
        fmt::format("no document '{}' of namespace '{}' is held", message.document_id, name_space),
        message.request);
  }
  memory_bank::LogEntry entry;
  entry.document = held->document;
  entry.gated = false;
  const std::vector<int64_t> offsets = engine_.log({&entry, 1});
  Message reply(Command::held_admit, message.request);
  reply.offset = static_cast<uint64_t>(offsets.front());
  return reply;
}

}  // namespace alluvium::service
