// Makes bad records that can be stored and sent as text, whatever bytes the input held.
#pragma once

#include <string>
#include <string_view>

#include "alluvium/streams/source.h"

namespace alluvium::streams {

/// Cuts `content` to its first 4,096 bytes and replaces malformed UTF-8 in every field.
BadRecord make_bad_record(std::string_view source, int64_t line, std::string_view reason,
                          std::string_view content);

/// The document as an Envelope, or as a BadRecord when validate_document() refuses it.
SourceItem check_document(Document document, std::string_view source, int64_t line,
                          const DocumentLimits& limits);

}  // namespace alluvium::streams
