#include "alluvium/experiments/qa_dataset.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <zlib.h>

#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "alluvium/streams/source.h"

namespace alluvium::experiments {
namespace {

/// Lines of a plain or gzip file; zlib reads both.
class LineFile {
 public:
  explicit LineFile(const std::string& path)
      : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
    ALLUVIUM_CHECK(file_ != nullptr, "cannot read {}", path);
  }

  bool next(std::string& line) {
    line.clear();
    char buffer[1 << 14];
    while (gzgets(file_.get(), buffer, sizeof buffer) != nullptr) {
      line += buffer;
      if (line.back() == '\n') {
        line.pop_back();
        return true;
      }
    }
    int code = Z_OK;
    const char* message = gzerror(file_.get(), &code);
    if (code != Z_OK && code != Z_STREAM_END) {
      throw Unavailable(fmt::format("cannot read {}: {}", path_, message));
    }
    return !line.empty();
  }

 private:
  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

QaQuestion parse_question(const nlohmann::json& row) {
  QaQuestion question;
  question.id = row.at("id").get<std::string>();
  question.text = row.at("question").get<std::string>();
  question.answers = row.at("answers").get<std::vector<std::string>>();
  if (row.contains("doc_ids")) {
    question.document_ids = row.at("doc_ids").get<std::vector<std::string>>();
  } else if (row.contains("doc_id")) {
    question.document_ids = {row.at("doc_id").get<std::string>()};
  }
  return question;
}

}  // namespace

QaFilter parse_filter(const std::string& text) {
  if (text.empty()) {
    return {};
  }
  const std::size_t equals = text.find('=');
  ALLUVIUM_CHECK(equals != std::string::npos && equals > 0,
                 "a filter has the form field=value, got '{}'", text);
  return {.field = text.substr(0, equals), .value = text.substr(equals + 1)};
}

std::vector<QaQuestion> load_questions(const std::string& path, const QaFilter& filter) {
  LineFile file(path);
  std::vector<QaQuestion> questions;
  std::string line;
  for (int64_t number = 1; file.next(line); ++number) {
    if (line.empty()) {
      continue;
    }
    try {
      const nlohmann::json row = nlohmann::json::parse(line);
      if (filter.field.empty() || row.value(filter.field, "") == filter.value) {
        questions.push_back(parse_question(row));
      }
    } catch (const nlohmann::json::exception& error) {
      throw InvalidArgument(fmt::format("{}:{}: not a question: {}", path, number, error.what()));
    }
  }
  return questions;
}

std::vector<Document> load_documents(const std::string& path) {
  const auto source = streams::open_source(path);
  std::vector<Document> documents;
  while (auto item = source->next()) {
    if (const auto* bad = std::get_if<streams::BadRecord>(&*item)) {
      throw InvalidArgument(fmt::format("{}:{}: {}", bad->source, bad->line, bad->reason));
    }
    documents.push_back(std::move(std::get<streams::Envelope>(*item).document));
  }
  ALLUVIUM_CHECK(!documents.empty(), "{} holds no documents", path);
  return documents;
}

std::vector<QaQuestion> sample_questions(std::vector<QaQuestion> questions, uint64_t seed,
                                         int64_t limit) {
  std::vector<std::pair<std::string, std::size_t>> order;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    order.emplace_back(to_hex(sha256(fmt::format("{}:{}", seed, questions[i].id))), i);
  }
  std::sort(order.begin(), order.end());
  if (limit > 0 && static_cast<std::size_t>(limit) < order.size()) {
    order.resize(static_cast<std::size_t>(limit));
  }
  std::vector<QaQuestion> sample;
  sample.reserve(order.size());
  for (const auto& [key, index] : order) {
    sample.push_back(std::move(questions[index]));
  }
  return sample;
}

}  // namespace alluvium::experiments
