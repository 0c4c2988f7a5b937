// Addresses that never leave the machine.
//
// Threads: thread-safe.
#pragma once

#include <string>

namespace alluvium::service {

/// Throws InvalidArgument unless `address` is in 127.0.0.0/8, ::1 or "localhost".
void check_loopback(const std::string& address);

/// The address as ZeroMQ wants it in tcp://…: localhost becomes 127.0.0.1, ::1 gets its brackets.
std::string zmq_host(const std::string& address);

}  // namespace alluvium::service
