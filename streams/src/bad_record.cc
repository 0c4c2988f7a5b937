#include "bad_record.h"

#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"

namespace alluvium::streams {
namespace {

constexpr std::size_t kContentBytes = 4096;

}  // namespace

BadRecord make_bad_record(std::string_view source, int64_t line, std::string_view reason,
                          std::string_view content) {
  std::string_view kept = content.substr(0, kContentBytes);
  if (kept.size() < content.size()) {
    kept = kept.substr(0, complete_utf8_prefix(kept));
  }
  return {replace_invalid_utf8(source), line, replace_invalid_utf8(reason),
          replace_invalid_utf8(kept)};
}

SourceItem check_document(Document document, std::string_view source, int64_t line,
                          const DocumentLimits& limits) {
  try {
    validate_document(document, limits);
  } catch (const InvalidArgument& error) {
    return make_bad_record(source, line, error.what(), document.text);
  }
  return Envelope{std::move(document), replace_invalid_utf8(source), line};
}

}  // namespace alluvium::streams
