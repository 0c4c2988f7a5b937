#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include <fmt/format.h>

#include "alluvium/core/error.h"
#include "alluvium/service/client.h"
#include "alluvium/service/endpoint.h"
#include "qa_service.h"

namespace alluvium::experiments {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(100);

service::EndpointConfiguration free_ports(service::EndpointConfiguration configuration) {
  configuration.port = 0;
  configuration.events_port = 0;
  return configuration;
}

service::ClientOptions options_for(const service::Endpoint& endpoint) {
  service::ClientOptions options;
  options.endpoint = endpoint.address();
  return options;
}

class SocketService final : public QaService {
 public:
  SocketService(service::Engine& engine, const service::Configuration& configuration)
      : engine_(engine),
        endpoint_(free_ports(configuration.endpoint), configuration.ingest),
        client_(options_for(endpoint_)) {
    endpoint_.start(engine_);
    client_.connect();
  }

  ~SocketService() override { endpoint_.stop(); }

  void publish(const std::vector<Document>& documents,
               const std::function<void(int64_t)>& applied) override {
    int64_t acknowledged = 0;
    int64_t reported = 0;
    client_.on_result([&](const service::PublishResult& result) {
      if (!result.accepted) {
        throw InvalidArgument(
            fmt::format("document {} was refused: {}", result.sequence, result.reason));
      }
      ++acknowledged;
    });
    const auto report = [&] {
      const int64_t done = std::max(reported, acknowledged - engine_.backlog());
      applied(done - reported);
      reported = done;
    };
    for (const Document& document : documents) {
      client_.put(document);
      report();
    }
    client_.drain();
    while (engine_.backlog() > 0) {
      std::this_thread::sleep_for(kPoll);
      report();
    }
    client_.flush();
    report();
    client_.on_result(nullptr);
  }

  service::Answer ask(const service::Question& question) override { return client_.ask(question); }

 private:
  service::Engine& engine_;
  service::Endpoint endpoint_;
  service::Client client_;
};

}  // namespace

std::unique_ptr<QaService> make_socket_service(service::Engine& engine,
                                               const service::Configuration& configuration) {
  return std::make_unique<SocketService>(engine, configuration);
}

}  // namespace alluvium::experiments
