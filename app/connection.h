// What every verb that talks to a service needs.
//
// Threads: plain data.
#pragma once

#include <string>

#include <CLI/App.hpp>

#include "alluvium/service/client.h"

namespace alluvium::app {

struct ConnectionOptions {
  std::string endpoint = "tcp://127.0.0.1:7400";
  std::string name_space = "default";
  int64_t timeout_ms = 3000;  ///< for the service's first sign of life
  bool json = false;
};

/// Adds --endpoint (or ALLUVIUM_ENDPOINT), --connect-timeout and --json.
void add_connection_options(CLI::App& verb, ConnectionOptions& options);
/// Adds --namespace.
void add_namespace_option(CLI::App& verb, ConnectionOptions& options);

service::ClientOptions client_options(const ConnectionOptions& options);

}  // namespace alluvium::app
