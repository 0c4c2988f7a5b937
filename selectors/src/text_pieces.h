// Lengths of texts: cutting into even pieces, medians.
//
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace alluvium::selectors {

/// `text` in pieces of about equal size, none over `limit` bytes (but for one character more), cut between characters. 0 = one piece.
std::vector<std::string_view> cut_evenly(std::string_view text, int64_t limit);

/// Median of the texts' bytes, the lower one of two; 0 of none.
int64_t median_bytes(const std::vector<std::string>& texts);

}  // namespace alluvium::selectors
