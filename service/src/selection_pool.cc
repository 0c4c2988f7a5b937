#include "selection_pool.h"

#include <initializer_list>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "alluvium/core/crc32c.h"
#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"

namespace alluvium::service {
namespace {

constexpr std::size_t kBatchBytes = std::size_t{4} << 20;
constexpr std::size_t kShownBytes = 4096;

nlohmann::json parse_object(const std::string& text) {
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw InvalidArgument(fmt::format("not JSON: stops at byte {}", error.byte));
  }
  ALLUVIUM_CHECK(object.is_object(), "a row must be a JSON object, got {}", object.type_name());
  return object;
}

// The first of the fields that is there; a list gives its first string. Nothing when none is there.
std::optional<std::string> find_text(const nlohmann::json& object,
                                     std::initializer_list<const char*> fields) {
  for (const char* field : fields) {
    const auto found = object.find(field);
    if (found == object.end() || found->is_null()) {
      continue;
    }
    if (found->is_array()) {
      if (found->empty()) {
        return std::string();
      }
      ALLUVIUM_CHECK(found->front().is_string(), "field '{}' must hold strings, got {}", field,
                     found->front().type_name());
      return found->front().get<std::string>();
    }
    ALLUVIUM_CHECK(found->is_string(), "field '{}' must be a string, got {}", field,
                   found->type_name());
    return found->get<std::string>();
  }
  return std::nullopt;
}

// Whether the row says what is asked and answered; fills the sample with it.
bool read_answers(const nlohmann::json& object, selectors::Sample& sample) {
  const auto prompt = find_text(object, {"prompt"});
  const auto question = find_text(object, {"question"});
  const auto answer = find_text(object, {"answer", "answers"});
  if (!prompt && !question && !answer) {
    return false;
  }
  sample.document = find_text(object, {"document", "context"}).value_or("");
  if (prompt || !question) {
    sample.prompt = prompt.value_or("");
    sample.answer = answer.value_or("");
  } else {
    sample.prompt = fmt::format("Question: {}\nAnswer:", *question);
    sample.answer = answer && !answer->empty() ? " " + *answer : "";
  }
  return true;
}

}  // namespace

selectors::Sample parse_row(const std::string& text, const RowFields& fields, int64_t line) {
  const nlohmann::json object = parse_object(text);
  selectors::Sample sample;
  const bool has_answers = fields.with_answers && read_answers(object, sample);
  for (const std::string& field : fields.text) {
    const auto found = object.find(field);
    if (has_answers && found == object.end()) {
      continue;
    }
    ALLUVIUM_CHECK(found != object.end(), "field '{}' is missing", field);
    ALLUVIUM_CHECK(found->is_string(), "field '{}' must be a string, got {}", field,
                   found->type_name());
    sample.text += (sample.text.empty() ? "" : "\n") + found->get<std::string>();
  }
  if (has_answers && sample.text.empty()) {
    sample.text = fmt::format("{}{}{}{}", sample.document, sample.document.empty() ? "" : "\n",
                              sample.prompt, sample.answer);
  }
  ALLUVIUM_CHECK(!sample.text.empty(), "field '{}' is empty", fmt::join(fields.text, "', '"));
  const auto id = object.find(fields.id);
  if (id == object.end()) {
    sample.id = fmt::format("line-{}", line);
  } else if (id->is_string()) {
    sample.id = id->get<std::string>();
  } else {
    ALLUVIUM_CHECK(id->is_number_integer(), "field '{}' must be a string or an integer, got {}",
                   fields.id, id->type_name());
    sample.id = id->dump();
  }
  return sample;
}

PoolReader::PoolReader(std::unique_ptr<streams::ByteInput> input, const SelectionOptions& options)
    : options_(options), reader_(std::move(input), options.line_bytes) {}

std::optional<streams::Line> PoolReader::next_line() {
  auto line = reader_.next();
  if (line) {
    lines_ = line->number;
    checksum_ = crc32c("\n", 1, crc32c(line->text.data(), line->text.size(), checksum_));
  }
  return line;
}

std::optional<PoolBatch> PoolReader::next() {
  PoolBatch batch;
  std::size_t bytes = 0;
  bool any = false;
  for (int64_t rows = 0; rows < options_.batch_rows && bytes < kBatchBytes; ++rows) {
    auto line = next_line();
    if (!line) {
      break;
    }
    any = true;
    bytes += line->text.size();
    if (line->text.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    try {
      ALLUVIUM_CHECK(line->bytes <= options_.line_bytes, "line has {} bytes, the limit is {}",
                     line->bytes, options_.line_bytes);
      batch.samples.push_back(parse_row(line->text, options_.fields, line->number));
      batch.lines.push_back(std::move(line->text));
    } catch (const InvalidArgument& error) {
      batch.bad.push_back({line->number, replace_invalid_utf8(error.what()),
                           replace_invalid_utf8(line->text.substr(0, kShownBytes))});
    }
  }
  return any ? std::optional(std::move(batch)) : std::nullopt;
}

void PoolReader::skip(int64_t lines, uint32_t checksum) {
  while (lines_ < lines && next_line()) {
  }
  ALLUVIUM_CHECK(lines_ == lines && checksum_ == checksum,
                 "--state: its first {} lines are not those of this pool; start anew with an empty "
                 "directory",
                 lines);
}

selectors::TargetSet load_targets(const std::string& path, const RowFields& fields) {
  selectors::TargetSet targets;
  SelectionOptions options;
  streams::LineReader reader(streams::open_file_input(path), options.line_bytes);
  while (const auto line = reader.next()) {
    if (line->text.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    try {
      ALLUVIUM_CHECK(line->bytes <= options.line_bytes, "line has {} bytes, the limit is {}",
                     line->bytes, options.line_bytes);
      selectors::Sample sample = parse_row(line->text, fields, line->number);
      targets.texts.push_back(sample.text);
      targets.samples.push_back(std::move(sample));
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(fmt::format("targets {}:{}: {}", path, line->number, error.what()));
    }
  }
  ALLUVIUM_CHECK(!targets.texts.empty(), "targets {}: holds no row; at least 1 is needed", path);
  return targets;
}

}  // namespace alluvium::service
