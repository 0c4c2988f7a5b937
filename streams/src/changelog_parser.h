// A Debian changelog file as a list of entries.
//
// Threads: thread-safe.
#pragma once

#include <optional>
#include <vector>

#include "alluvium/streams/line_reader.h"
#include "changelog_entry.h"

namespace alluvium::streams {

/// The most that a line of a changelog keeps.
constexpr std::size_t kChangelogLineBytes = std::size_t{64} << 10;

/// Every entry from the top. An entry whose trailer is missing or cannot be read says so in
/// `problem`. Nothing when the first line that is not blank is no entry's header: the file is some
/// other kind of changelog. Throws Unavailable when reading fails.
std::optional<std::vector<ChangelogEntry>> parse_changelog(LineReader& lines);

}  // namespace alluvium::streams
