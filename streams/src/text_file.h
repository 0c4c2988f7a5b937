// One .txt or .md file as a document.
//
// Threads: thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "alluvium/streams/source.h"

namespace alluvium::streams {

/// Whole content of a file. Throws InvalidArgument when it cannot be opened or has more than
/// `limit_bytes`, Unavailable when reading fails.
std::string read_whole_file(const std::string& path, std::size_t limit_bytes);

/// Text of the first Markdown heading ("# …" to "###### …") outside fenced code; nothing when there
/// is none.
std::optional<std::string> first_heading(std::string_view markdown);

/// The file at `path` under the identity `id`: title from its first heading (.md) or its name,
/// valid_from from its modification time. A file that cannot be read or is too large becomes a
/// BadRecord.
SourceItem read_text_file(const std::string& path, const std::string& id,
                          const SourceOptions& options);

}  // namespace alluvium::streams
