#include "crash_upkeep.h"

#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "crash_publisher.h"

namespace alluvium::experiments {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(20);
}  // namespace

void upkeep_until_killed(const std::string& endpoint, const std::atomic<bool>& stopping,
                         UpkeepCounts& counts) {
  service::Client client(impatient_client(endpoint));
  try {
    for (bool tiny = true; !stopping; tiny = !tiny) {
      client.recompress_memories(tiny ? "tiny" : "compact");
      ++counts.recompressions;
      client.compact_memories();
      ++counts.compactions;
    }
  } catch (const Unavailable&) {
    // Killed.
  }
}

int64_t recompress_all(const std::string& endpoint, const std::string& preset) {
  service::ClientOptions options;
  options.endpoint = endpoint;
  service::Client client(options);
  auto report = nlohmann::json::parse(client.recompress_memories(preset));
  while (report.at("remaking").get<bool>()) {
    std::this_thread::sleep_for(kPoll);
    report = nlohmann::json::parse(client.memories());
  }
  return report.at("waiting").get<int64_t>();
}

}  // namespace alluvium::experiments
