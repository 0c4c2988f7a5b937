#include "alluvium/core/document.h"

#include <algorithm>

#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"

namespace alluvium {
namespace {

void check_text(const char* field, const std::string& value, std::size_t limit) {
  ALLUVIUM_CHECK(value.size() <= limit, "{} has {} bytes, the limit is {}", field, value.size(),
                 limit);
  if (const auto offset = find_invalid_utf8(value)) {
    throw InvalidArgument(fmt::format("{} is not UTF-8 at byte {}", field, *offset));
  }
}

void check_name(const char* field, const std::string& value, std::size_t limit) {
  ALLUVIUM_CHECK(!value.empty(), "{} must not be empty", field);
  check_text(field, value, limit);
  const bool has_control = std::any_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  ALLUVIUM_CHECK(!has_control, "{} must not hold control characters", field);
}

}  // namespace

void validate_document(const Document& document, const DocumentLimits& limits) {
  check_name("namespace", document.name_space, limits.namespace_bytes);
  check_name("id", document.id, limits.id_bytes);
  check_text("title", document.title, limits.title_bytes);
  const bool blank = document.text.find_first_not_of(" \t\r\n\f\v") == std::string::npos;
  ALLUVIUM_CHECK(!blank, "text must not be empty (document '{}')", document.id);
  check_text("text", document.text, limits.text_bytes);
  ALLUVIUM_CHECK(document.version > 0 && document.version <= uint64_t{INT64_MAX},
                 "version must lie in [1, 2^63), got {}", document.version);
  ALLUVIUM_CHECK(document.metadata.size() <= limits.metadata_entries,
                 "metadata has {} entries, the limit is {}", document.metadata.size(),
                 limits.metadata_entries);
  std::size_t bytes = 0;
  for (const auto& [key, value] : document.metadata) {
    check_text("metadata key", key, limits.metadata_bytes);
    check_text("metadata value", value, limits.metadata_bytes);
    bytes += key.size() + value.size();
  }
  ALLUVIUM_CHECK(bytes <= limits.metadata_bytes, "metadata has {} bytes, the limit is {}", bytes,
                 limits.metadata_bytes);
}

}  // namespace alluvium
