#include "session_id.h"

#include <cerrno>
#include <cstring>
#include <sys/random.h>

#include "alluvium/core/error.h"
#include "alluvium/service/protocol.h"

namespace alluvium::service {

std::string make_session_id() {
  std::string session(kSessionBytes, '\0');
  if (getrandom(session.data(), session.size(), 0) != static_cast<ssize_t>(session.size())) {
    throw InternalError(fmt::format("the system gave no random bytes: {}", strerror(errno)));
  }
  return session;
}

std::string session_to_hex(const std::string& session) {
  std::string hex;
  for (const char byte : session) {
    hex += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  }
  return hex;
}

}  // namespace alluvium::service
