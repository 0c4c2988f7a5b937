// Text for people: terminals, sizes, times.
//
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace alluvium::app {

/// Whether standard error is a terminal: progress is drawn only there.
bool has_terminal();

/// "1.5 MiB"
std::string format_bytes(double bytes);

/// "1:05" or "2:03:04"
std::string format_duration(double seconds);

/// "2024-05-01 12:30:00 UTC"; "-" for 0.
std::string format_time(int64_t us);

/// Cut to `width` bytes at a character border, with "..." when something was cut; line breaks become spaces.
std::string shorten(const std::string& text, std::size_t width);

}  // namespace alluvium::app
