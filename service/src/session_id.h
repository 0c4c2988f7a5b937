// Names of publishing sessions and of service starts.
//
// Threads: thread-safe.
#pragma once

#include <string>

namespace alluvium::service {

/// kSessionBytes bytes from the system's random source.
std::string make_session_id();

/// Two lower-case hexadecimal digits a byte: how the ingest log keeps a session.
std::string session_to_hex(const std::string& session);

}  // namespace alluvium::service
