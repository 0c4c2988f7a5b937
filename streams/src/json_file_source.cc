#include "json_file_source.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "bad_record.h"
#include "json_document.h"
#include "text_file.h"

namespace alluvium::streams {
namespace {

using nlohmann::json;

constexpr std::size_t kFileBytes = std::size_t{256} << 20;

json parse_file(const std::string& path) {
  try {
    return parse_json(read_whole_file(path, kFileBytes));
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(
        fmt::format("'{}': {}; a .json file is one object or an array of objects, a file with one "
                    "object a line is named .jsonl",
                    path, error.what()));
  }
}

SourceItem read_record(const json& record, const std::string& path, int64_t place,
                       const SourceOptions& options) {
  try {
    return check_document(document_from_json(record, options.name_space), path, place,
                          options.limits);
  } catch (const InvalidArgument& error) {
    return make_bad_record(path, place, error.what(), record.dump());
  }
}

}  // namespace

JsonFileSource::JsonFileSource(const std::string& path, const SourceOptions& options) {
  const json content = parse_file(path);
  ALLUVIUM_CHECK(content.is_object() || content.is_array(),
                 "'{}' must hold an object or an array of objects, got {}", path,
                 content.type_name());
  if (content.is_object()) {
    items_.push_back(read_record(content, path, 1, options));
    return;
  }
  for (const json& record : content) {
    items_.push_back(read_record(record, path, static_cast<int64_t>(items_.size()) + 1, options));
  }
}

std::optional<SourceItem> JsonFileSource::next() {
  if (read_ == items_.size()) {
    return std::nullopt;
  }
  return std::move(items_[read_++]);
}

std::optional<int64_t> JsonFileSource::expected_documents() const {
  return static_cast<int64_t>(items_.size());
}

std::optional<double> JsonFileSource::progress() const {
  return items_.empty() ? 1.0 : static_cast<double>(read_) / static_cast<double>(items_.size());
}

}  // namespace alluvium::streams
