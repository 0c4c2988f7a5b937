#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <map>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/clock.h"
#include "alluvium/core/random.h"
#include "alluvium/experiments/crash_bench.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/client.h"
#include "crash_ledger.h"
#include "crash_publisher.h"
#include "crash_upkeep.h"
#include "percentile.h"
#include "progress_bar.h"
#include "server_process.h"

namespace alluvium::experiments {
namespace {

constexpr int64_t kPage = 500;

/// One life: start, load, SIGKILL.
void live_and_die(ServerProcess& server, int64_t life_ms, CrashLedger& ledger,
                  UpkeepCounts& upkeep) {
  std::atomic<bool> stopping{false};
  std::exception_ptr failure;
  std::exception_ptr upkeep_failure;
  std::thread publisher([&] {
    try {
      publish_until_killed(server.endpoint(), ledger, stopping);
    } catch (...) {
      failure = std::current_exception();
    }
  });
  std::thread operating([&] {
    try {
      upkeep_until_killed(server.endpoint(), stopping, upkeep);
    } catch (...) {
      upkeep_failure = std::current_exception();
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(life_ms));
  server.kill();
  stopping = true;
  publisher.join();
  operating.join();
  for (const std::exception_ptr& thrown : {failure, upkeep_failure}) {
    if (thrown) {
      std::rethrow_exception(thrown);
    }
  }
}

/// Asks the service itself, as any client would, page by page.
std::vector<memory_bank::DocumentSummary> list_all(service::Client& client) {
  std::vector<memory_bank::DocumentSummary> all;
  while (true) {
    const auto page = client.list_documents("default", all.empty() ? "" : all.back().id, kPage);
    if (page.empty()) {
      return all;
    }
    all.insert(all.end(), page.begin(), page.end());
  }
}

void judge(const std::string& endpoint, const CrashLedger& ledger, CrashReport& report) {
  service::ClientOptions options;
  options.endpoint = endpoint;
  service::Client client(options);
  report.without_memory =
      nlohmann::json::parse(client.status()).at("stale_memories").get<int64_t>();
  std::map<std::string, int64_t> listed;
  for (const memory_bank::DocumentSummary& summary : list_all(client)) {
    ++listed[summary.id];
  }
  report.documents_present = static_cast<int64_t>(listed.size());
  report.documents_expected = ledger.documents_expected();
  std::vector<std::string> ids = ledger.ids();
  for (const auto& [id, count] : listed) {
    report.doubled += count - 1;
    if (!std::binary_search(ids.begin(), ids.end(), id)) {
      report.faults.push_back(fmt::format("{} was never sent", id));
    }
  }
  for (const std::string& id : ids) {
    const auto stored = client.find_document("default", id);
    if (stored.has_value() != (listed.count(id) > 0)) {
      report.faults.push_back(
          fmt::format("{} is listed and not found, or found and not listed", id));
    }
    if (const auto fault =
            ledger.find_fault(id, stored ? std::optional(stored->document) : std::nullopt)) {
      report.faults.push_back(*fault);
      ++report.lost;
    }
  }
}

/// Looks at the files when no service runs.
void inspect(const std::string& directory, CrashReport& report) {
  memory_bank::StoreOptions options;
  options.read_only = true;
  const auto store = memory_bank::Store::open(directory, options);
  for (std::string& line : store->verify()) {
    report.faults.push_back(std::move(line));
  }
  const memory_bank::StoreCounts counts = store->counts(Digest{});
  if (counts.documents != report.documents_present) {
    report.faults.push_back(fmt::format("the store holds {} documents, the service listed {}",
                                        counts.documents, report.documents_present));
    report.doubled += std::max<int64_t>(counts.documents - report.documents_present, 0);
  }
  if (counts.pending != 0) {
    report.faults.push_back(fmt::format("{} log entries are not applied", counts.pending));
  }
}

}  // namespace

CrashReport measure_crashes(const CrashBenchOptions& options) {
  ServerOptions server_options;
  server_options.program = options.program.empty() ? own_program() : options.program;
  server_options.directory = options.directory;
  server_options.arguments = options.serve_arguments;

  CrashReport report;
  CrashLedger ledger(options.seed, options.documents);
  Random random(options.seed + 1);
  std::vector<double> restarts;
  UpkeepCounts upkeep;
  ProgressBar bar("kill", options.kills);
  const auto start = [&] {
    const Stopwatch watch;
    auto server = std::make_unique<ServerProcess>(server_options);
    restarts.push_back(watch.elapsed_ms());
    return server;
  };
  for (; report.kills < options.kills; ++report.kills) {
    const int64_t span = options.longest_life_ms - options.shortest_life_ms + 1;
    const auto life_ms =
        options.shortest_life_ms + static_cast<int64_t>(random.below(static_cast<uint64_t>(span)));
    live_and_die(*start(), life_ms, ledger, upkeep);
    bar.advance();
  }

  fmt::print(stderr, "publishing the rest, then looking at every document\n");
  const auto server = start();
  publish_rest(server->endpoint(), ledger);
  report.not_recompressed = recompress_all(server->endpoint(), "compact");
  judge(server->endpoint(), ledger, report);
  if (const int exit_code = server->stop(); exit_code != 0) {
    report.faults.push_back(fmt::format("the service stopped with exit code {}", exit_code));
  }
  inspect(options.directory, report);
  report.recompressions = upkeep.recompressions;
  report.compactions = upkeep.compactions;
  report.operations_acknowledged = ledger.acknowledged();
  report.operations_resent = ledger.resent();
  report.restart_ms_p50 = percentile(restarts, 0.5);
  report.restart_ms_max = percentile(restarts, 1);
  return report;
}

}  // namespace alluvium::experiments
