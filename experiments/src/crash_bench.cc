#include "alluvium/experiments/crash_bench.h"

#include <cstdio>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "alluvium/core/error.h"
#include "alluvium/experiments/bench.h"
#include "report.h"
#include "settings.h"
#include "temporary_directory.h"

namespace alluvium::experiments {
namespace {

Row to_row(const CrashReport& report) {
  return {{"kills", report.kills},
          {"operations_acknowledged", report.operations_acknowledged},
          {"operations_resent", report.operations_resent},
          {"documents_expected", report.documents_expected},
          {"documents_present", report.documents_present},
          {"lost", report.lost},
          {"doubled", report.doubled},
          {"without_memory", report.without_memory},
          {"recompressions", report.recompressions},
          {"compactions", report.compactions},
          {"not_recompressed", report.not_recompressed},
          {"restart_ms_p50", report.restart_ms_p50},
          {"restart_ms_max", report.restart_ms_max}};
}

}  // namespace

int run_crash_bench(const std::vector<std::string>& arguments) {
  CrashBenchOptions options;
  std::string json;
  Settings settings;
  CLI::App app(
      "Kill a service under load, recompressing and compacting, at random moments; count what was "
      "acknowledged and lost.",
      "alluvium bench crash");
  app.add_option("--kills", options.kills, "lives ended by SIGKILL")->check(CLI::PositiveNumber);
  app.add_option("--documents", options.documents, "distinct ids")->check(CLI::PositiveNumber);
  app.add_option("--longest-life-ms", options.longest_life_ms,
                 "a life's length is drawn up to this")
      ->check(CLI::Range(10, 3600000));
  app.add_option("--seed", options.seed, "of the operations and the moments");
  app.add_option("--program", options.program, "the alluvium program; default: this one");
  app.add_option("--json", json, "write the result to this file");
  settings.add_to(app);
  if (const auto exit_code = Settings::parse(app, arguments)) {
    return *exit_code;
  }
  options.serve_arguments = settings.as_arguments();

  const TemporaryDirectory directory;
  options.directory = directory.path() + "/instance";
  const CrashReport measured = measure_crashes(options);
  std::fputs(to_markdown({to_row(measured)}).c_str(), stdout);
  for (const std::string& fault : measured.faults) {
    fmt::print(stderr, "fault: {}\n", fault);
  }
  if (!json.empty()) {
    Row report = describe_run("crash", arguments);
    report["seed"] = options.seed;
    report["rows"] = std::vector<Row>{to_row(measured)};
    report["faults"] = measured.faults;
    write_json(json, report);
  }
  return measured.clean() ? 0 : 1;
}

}  // namespace alluvium::experiments
