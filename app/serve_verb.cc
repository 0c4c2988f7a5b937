// alluvium serve: the service itself.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/service/endpoint.h"
#include "alluvium/service/engine.h"
#include "configuration_options.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

struct ServeOptions {
  ConfigurationOptions configuration;
  int64_t port = -1;         ///< below 0: as configured
  int64_t events_port = -1;  ///< likewise
  std::string ready_file;
  bool json = false;
};

void start_log(const std::string& level) {
  auto log = spdlog::stderr_logger_mt("alluvium");
  log->set_pattern("time=%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  log->set_level(spdlog::level::from_str(level));
  log->flush_on(spdlog::level::info);
  spdlog::set_default_logger(log);
}

/// Signals that stop the service, blocked in every thread and taken by wait() alone.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }

  int wait() const {
    int signal = 0;
    sigwait(&signals_, &signal);
    return signal;
  }

 private:
  sigset_t signals_{};
};

/// Written beside and renamed, so that whoever waits for the file reads all of it.
void write_ready_file(const std::string& path, const std::string& content) {
  const std::string beside = path + ".new";
  {
    std::ofstream file(beside);
    file << content << '\n';
    file.close();
    if (!file) {
      throw InvalidArgument(fmt::format("cannot write the ready file '{}'", path));
    }
  }
  std::filesystem::rename(beside, path);
}

void log_configuration(const service::Configuration& configuration) {
  const std::string text = service::to_toml(configuration);
  std::string section;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (line.empty()) {
      continue;
    }
    if (line.front() == '[') {
      section = line.substr(1, line.size() - 2) + ".";
      continue;
    }
    const std::size_t equals = line.find(" = ");
    spdlog::info("event=configuration key={}{} value={}", section, line.substr(0, equals),
                 line.substr(equals + 3));
  }
}

service::Configuration read_options(const ServeOptions& options) {
  service::Configuration configuration = read_configuration(options.configuration);
  if (options.port >= 0) {
    configuration.endpoint.port = options.port;
  }
  if (options.events_port >= 0) {
    configuration.endpoint.events_port = options.events_port;
  }
  service::validate_configuration(configuration);
  return configuration;
}

int run(const ServeOptions& options) {
  const service::Configuration configuration = read_options(options);
  const StopSignals signals;
  start_log(configuration.log_level);
  log_configuration(configuration);

  // The ports first: that they are taken is known at once, the models take seconds.
  service::Endpoint endpoint(configuration.endpoint, configuration.ingest);
  Stopwatch watch;
  service::Models models = service::load_models(configuration);
  const auto engine = service::Engine::start(configuration, std::move(models));
  endpoint.start(*engine);
  const service::EngineStatus status = engine->status();
  spdlog::info(
      "event=ready endpoint={} events={} directory={} documents={} pending={} start_ms={:.0f}",
      endpoint.address(), endpoint.events_address(), configuration.directory,
      status.store.documents, status.store.pending, watch.elapsed_ms());
  spdlog::info("event=device reason=\"{}\"", status.device_reason);

  const std::string ready = nlohmann::json{
      {"endpoint", endpoint.address()},
      {"events", endpoint.events_address()},
      {"pid", getpid()}}.dump();
  if (!options.ready_file.empty()) {
    write_ready_file(options.ready_file, ready);
  }
  if (options.json) {
    fmt::print("{}\n", ready);
    std::fflush(stdout);
  }

  const int signal = signals.wait();
  spdlog::info("event=stopping signal={}", signal);
  endpoint.stop();
  engine->stop();
  if (!options.ready_file.empty()) {
    std::error_code ignored;
    std::filesystem::remove(options.ready_file, ignored);
  }
  spdlog::info("event=stopped");
  return 0;
}

}  // namespace

void add_serve(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* verb = program.add_subcommand("serve", "Run the service until it is told to stop");
  add_configuration_options(*verb, options->configuration);
  verb->add_option("--port", options->port, "Port of requests; 0 takes a free one")
      ->check(CLI::Range(0, 65535));
  verb->add_option("--events-port", options->events_port, "Port of events; 0 takes a free one")
      ->check(CLI::Range(0, 65535));
  verb->add_option("--ready-file", options->ready_file,
                   "Written when the service answers: a JSON object with endpoint, events and pid");
  verb->add_flag("--json", options->json, "Print the ready object to standard output too");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace alluvium::app
