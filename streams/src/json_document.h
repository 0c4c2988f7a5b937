// One JSON object as a document.
//
// Purpose: the fields that JSONL files and JSON files share.
//   id         required  string or integer
//   text       required  string
//   title                string
//   namespace            string; else the stream's
//   version              integer from 1; else 1
//   valid_from           RFC 3339 date or time, or microseconds since the epoch; else `date` when
//   that is such a date; else 0 metadata             object of strings, numbers and booleans
// Other fields that are strings, numbers or booleans of at most 512 bytes join the metadata; the
// rest is left out. Threads: thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "alluvium/core/document.h"

namespace alluvium::streams {

constexpr std::size_t kExtraFieldBytes = 512;

/// Throws InvalidArgument naming the field that is missing or of another type. The document is not
/// validated otherwise.
Document document_from_json(const nlohmann::json& object, const std::string& name_space);

/// Parses JSON text. Throws InvalidArgument with the byte where it stops being JSON.
nlohmann::json parse_json(std::string_view text);

}  // namespace alluvium::streams
