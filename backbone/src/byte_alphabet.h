// The printable alphabet in which byte-level vocabularies spell bytes.
//
// Source : bytes_to_unicode() of https://github.com/openai/gpt-2/blob/master/src/encoder.py: printable Latin-1 stands for itself, the other
//          68 bytes follow from U+0100 in order, so that a space is "Ġ".
// Threads: thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace alluvium::backbone {

/// The bytes that `piece` spells; nothing when it has a character outside the alphabet.
std::optional<std::string> bytes_of_piece(std::string_view piece);

}  // namespace alluvium::backbone
