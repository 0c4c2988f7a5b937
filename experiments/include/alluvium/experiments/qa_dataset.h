// Questions with known answers, and documents, from JSON lines.
//
// Threads: thread-safe functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alluvium/core/document.h"

namespace alluvium::experiments {

struct QaQuestion {
  std::string id;
  std::string text;
  std::vector<std::string> answers;       ///< empty = unanswerable
  std::vector<std::string> document_ids;  ///< where the answer stands; may be empty
};

/// Keeps the rows whose text field `field` is `value`; an empty field keeps all.
struct QaFilter {
  std::string field;
  std::string value;
};

/// "field=value". Throws InvalidArgument on another form; nothing of an empty text.
QaFilter parse_filter(const std::string& text);

/// Reads a .jsonl or .jsonl.gz file: id, question, answers, and doc_id or doc_ids. Throws
/// InvalidArgument naming file and line.
std::vector<QaQuestion> load_questions(const std::string& path, const QaFilter& filter = {});

/// All documents of a source (streams::open_source). Throws InvalidArgument naming file and line of
/// a bad record, or when there is none.
std::vector<Document> load_documents(const std::string& path);

/// The first `limit` questions (0 = all) in the order of the lower-case hex SHA-256 of
/// "<seed>:<id>".
std::vector<QaQuestion> sample_questions(std::vector<QaQuestion> questions, uint64_t seed,
                                         int64_t limit);

}  // namespace alluvium::experiments
