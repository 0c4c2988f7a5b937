#include "wire_documents.h"

#include <charconv>

#include "alluvium/core/error.h"

namespace alluvium::service {
namespace {

constexpr int64_t kNsPerUs = 1000;

template <class Number>
void read_number(const Message& message, const std::string& name, Number& target) {
  const auto found = message.attributes.find(name);
  if (found == message.attributes.end()) {
    return;
  }
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
  ALLUVIUM_CHECK(error == std::errc() && end == text.data() + text.size(),
                 "attribute {} must be a number, got '{}'", name, text);
}

}  // namespace

std::string namespace_of(const Message& message) {
  return message.name_space.empty() ? "default" : message.name_space;
}

int64_t to_wire_ns(int64_t us) {
  ALLUVIUM_CHECK(us <= INT64_MAX / kNsPerUs && us >= INT64_MIN / kNsPerUs,
                 "the time {} us does not fit 64-bit nanoseconds", us);
  return us * kNsPerUs;
}

Message make_nack(WireError code, const std::string& reason, uint64_t request) {
  Message nack(Command::nack, request);
  nack.error_code = to_string(code);
  nack.error_text = reason;
  return nack;
}

Message put_message(const Document& document, uint64_t sequence) {
  Message message(Command::put);
  message.sequence = sequence;
  message.name_space = document.name_space;
  message.document_id = document.id;
  message.version = document.version;
  message.timestamp_ns = to_wire_ns(document.valid_from_us);
  message.attributes = document.metadata;
  if (!document.title.empty()) {
    message.bodies.emplace_back("title", document.title);
  }
  message.bodies.emplace_back("text", document.text);
  return message;
}

Message erase_message(const std::string& name_space, const std::string& id, uint64_t version,
                      uint64_t sequence) {
  Message message(Command::erase);
  message.sequence = sequence;
  message.name_space = name_space;
  message.document_id = id;
  message.version = version;
  return message;
}

Document read_document(const Message& message) {
  Document document;
  document.name_space = namespace_of(message);
  document.id = message.document_id;
  document.version = message.version;
  document.valid_from_us = message.timestamp_ns / kNsPerUs;
  document.metadata = message.attributes;
  document.title = message.body("title");
  document.text = message.body("text");
  return document;
}

Message query_message(const Question& question, uint64_t request, int64_t deadline_ms) {
  Message message(Command::query, request);
  message.name_space = question.name_space;
  message.as_of_ns = to_wire_ns(question.as_of_us);
  message.deadline_ms = static_cast<uint64_t>(std::max<int64_t>(0, deadline_ms));
  const auto set = [&](const char* name, const std::string& value) {
    if (!value.empty()) {
      message.attributes[name] = value;
    }
  };
  set("codec", question.codec);
  set("retrieval", question.retrieval);
  set("compose", question.compose);
  set("reader", question.reader);
  set("top_k", question.top_k > 0 ? fmt::format("{}", question.top_k) : "");
  set("max_tokens", question.max_tokens > 0 ? fmt::format("{}", question.max_tokens) : "");
  set("temperature", question.temperature >= 0 ? fmt::format("{}", question.temperature) : "");
  set("top_p", question.top_p >= 0 ? fmt::format("{}", question.top_p) : "");
  set("seed", question.seed > 0 ? fmt::format("{}", question.seed) : "");
  message.bodies.emplace_back("text", question.text);
  for (const std::string& id : question.document_ids) {
    message.bodies.emplace_back("document_id", id);
  }
  return message;
}

Question read_question(const Message& message) {
  Question question;
  question.text = message.body("text");
  question.name_space = namespace_of(message);
  question.as_of_us = message.as_of_ns / kNsPerUs;
  question.codec = message.attribute("codec");
  question.retrieval = message.attribute("retrieval");
  question.compose = message.attribute("compose");
  question.reader = message.attribute("reader");
  read_number(message, "top_k", question.top_k);
  read_number(message, "max_tokens", question.max_tokens);
  read_number(message, "temperature", question.temperature);
  read_number(message, "top_p", question.top_p);
  read_number(message, "seed", question.seed);
  for (const auto& [type, bytes] : message.bodies) {
    if (type == "document_id") {
      question.document_ids.push_back(bytes);
    }
  }
  return question;
}

Message dead_letter_message(const memory_bank::DeadLetter& letter, uint64_t request) {
  Message message(Command::dead_letter, request);
  message.attributes["source"] = letter.source;
  message.attributes["line"] = fmt::format("{}", letter.line);
  message.attributes["reason"] = letter.reason;
  message.bodies.emplace_back("content", letter.content);
  return message;
}

memory_bank::DeadLetter read_dead_letter(const Message& message) {
  memory_bank::DeadLetter letter;
  letter.source = message.attribute("source");
  letter.reason = message.attribute("reason");
  read_number(message, "line", letter.line);
  letter.content = message.body("content");
  ALLUVIUM_CHECK(!letter.reason.empty(), "a dead letter needs the attribute reason");
  return letter;
}

}  // namespace alluvium::service
