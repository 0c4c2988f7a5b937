// Dates and times as people type them.
//
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace alluvium::app {

/// Microseconds since the epoch of "2024-05-01", "2024-05-01T12:30", "2024-05-01T12:30:45Z" or with an offset such as +02:00. A date alone
/// means its last microsecond in UTC, so that what became valid on that day counts. Throws InvalidArgument on anything else.
int64_t parse_time_argument(const std::string& text);

}  // namespace alluvium::app
