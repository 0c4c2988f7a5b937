// UTF-8 checks and cuts (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
//
// Threads: thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace alluvium {

/// Byte offset of the first malformed sequence; nothing when all of `text` is valid.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// Length of the longest prefix of `text` that does not end inside a sequence: the rest may be completed by later bytes.
/// Used to stream text whose tokens end anywhere.
std::size_t complete_utf8_prefix(std::string_view text);

/// `text` with every malformed sequence replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

}  // namespace alluvium
