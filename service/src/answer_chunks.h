// Which part of a long document a question should read.
//
// Source : BM25 (Robertson and Zaragoza, 2009), k1 1.2, b 0.75, over the chunks of one document as
// the collection. Threads: thread-safe functions.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace alluvium::service {

/// Index of the text that fits the question best; ties and no overlap go to the first. Terms are
/// runs of letters and digits, ASCII case folded; bytes above 0x7f count as letters. Throws
/// InvalidArgument when there are no texts.
std::size_t best_part(std::string_view question, std::span<const std::string_view> texts);

}  // namespace alluvium::service
