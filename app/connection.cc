#include "connection.h"

namespace alluvium::app {

void add_connection_options(CLI::App& verb, ConnectionOptions& options) {
  verb.add_option("--endpoint", options.endpoint, "Address of the service")
      ->envname("ALLUVIUM_ENDPOINT")
      ->capture_default_str();
  verb.add_option("--connect-timeout", options.timeout_ms,
                  "Milliseconds to wait for the service's first sign of life")
      ->check(CLI::Range(1, 3'600'000))
      ->capture_default_str();
  verb.add_flag("--json", options.json, "Print one JSON object");
}

void add_namespace_option(CLI::App& verb, ConnectionOptions& options) {
  verb.add_option("--namespace", options.name_space,
                  "Documents of one namespace know nothing of others")
      ->capture_default_str();
}

service::ClientOptions client_options(const ConnectionOptions& options) {
  service::ClientOptions client;
  client.endpoint = options.endpoint;
  client.connect_timeout_ms = options.timeout_ms;
  return client;
}

}  // namespace alluvium::app
