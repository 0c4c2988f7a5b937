#include "json_lines_source.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "bad_record.h"
#include "json_document.h"

namespace alluvium::streams {
namespace {

/// Room for the longest text with every second byte escaped, and for the other fields.
std::size_t longest_line(const DocumentLimits& limits) {
  return 2 * limits.text_bytes + (std::size_t{1} << 20);
}

}  // namespace

JsonLinesSource::JsonLinesSource(std::unique_ptr<ByteInput> input, std::string name,
                                 const SourceOptions& options)
    : name_(std::move(name)),
      options_(options),
      line_bytes_(longest_line(options.limits)),
      lines_(std::move(input), line_bytes_) {}

std::optional<SourceItem> JsonLinesSource::next() {
  while (const auto line = lines_.next()) {
    if (line->text.find_first_not_of(" \t\r") != std::string::npos) {
      return read(*line);
    }
  }
  return std::nullopt;
}

SourceItem JsonLinesSource::read(const Line& line) const {
  if (line.bytes > line_bytes_) {
    return make_bad_record(
        name_, line.number,
        fmt::format("line has {} bytes, the limit is {}", line.bytes, line_bytes_), line.text);
  }
  try {
    return check_document(document_from_json(parse_json(line.text), options_.name_space), name_,
                          line.number, options_.limits);
  } catch (const InvalidArgument& error) {
    return make_bad_record(name_, line.number, error.what(), line.text);
  }
}

}  // namespace alluvium::streams
