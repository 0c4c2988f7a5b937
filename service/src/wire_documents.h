// Documents, questions and answers as messages, for both ends of the wire.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

#include "alluvium/core/document.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/engine.h"
#include "alluvium/service/protocol.h"

namespace alluvium::service {

/// Microseconds to the wire's nanoseconds. Throws InvalidArgument when that does not fit 64 bits
/// (years beyond 2262).
int64_t to_wire_ns(int64_t us);

/// The namespace a message names, or "default".
std::string namespace_of(const Message& message);

/// A refusal that answers request `request` (0: it answers no request).
Message make_nack(WireError code, const std::string& reason, uint64_t request = 0);

Message put_message(const Document& document, uint64_t sequence);
Message erase_message(const std::string& name_space, const std::string& id, uint64_t version,
                      uint64_t sequence);

/// The document of a PUT, or of a DOCUMENT_GET reply. Not validated.
Document read_document(const Message& message);

Message query_message(const Question& question, uint64_t request, int64_t deadline_ms);
/// Throws InvalidArgument naming the attribute that is not what it should be.
Question read_question(const Message& message);

Message dead_letter_message(const memory_bank::DeadLetter& letter, uint64_t request);
memory_bank::DeadLetter read_dead_letter(const Message& message);

// JSON bodies, documented in docs/FORMATS.md. Readers throw InvalidArgument when the text is not
// what it should be.

std::string citations_to_json(const std::vector<Citation>& citations);
std::vector<Citation> citations_from_json(std::string_view json);

/// Everything of an answer but its text and citations.
std::string answer_to_json(const Answer& answer);
/// Fills in what answer_to_json wrote.
void read_answer_json(std::string_view json, Answer& answer);

std::string summaries_to_json(const std::vector<memory_bank::DocumentSummary>& summaries);
std::vector<memory_bank::DocumentSummary> summaries_from_json(std::string_view json);

std::string dead_letters_to_json(const std::vector<memory_bank::DeadLetter>& letters);
std::vector<memory_bank::DeadLetter> dead_letters_from_json(std::string_view json);

/// Texts are cut to their first 1,000 bytes.
std::string held_to_json(const std::vector<memory_bank::HeldDocument>& held);
std::vector<memory_bank::HeldDocument> held_from_json(std::string_view json);

/// What a check found, a list of lines.
std::string findings_to_json(const std::vector<std::string>& findings);
std::vector<std::string> findings_from_json(std::string_view json);

std::string readers_to_json(const std::vector<ReaderStatus>& readers);
std::vector<ReaderStatus> readers_from_json(std::string_view text);

std::string status_to_json(const EngineStatus& status);

}  // namespace alluvium::service
