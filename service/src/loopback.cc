#include "loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "alluvium/core/error.h"

namespace alluvium::service {
namespace {

bool is_loopback(const std::string& address) {
  if (address == "localhost" || address == "::1") {
    return true;
  }
  in_addr parsed{};
  return inet_pton(AF_INET, address.c_str(), &parsed) == 1 && (ntohl(parsed.s_addr) >> 24) == 127;
}

}  // namespace

void check_loopback(const std::string& address) {
  ALLUVIUM_CHECK(is_loopback(address),
                 "endpoint.address must be a loopback address (127.0.0.0/8, ::1 or localhost), got "
                 "'{}': requests are not authenticated, so the service answers this machine only",
                 address);
}

std::string zmq_host(const std::string& address) {
  if (address == "localhost") {
    return "127.0.0.1";
  }
  return address == "::1" ? "[::1]" : address;
}

}  // namespace alluvium::service
