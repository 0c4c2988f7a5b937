// alluvium train average: one adapter from several of one ancestor.
#include <numeric>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "alluvium/core/error.h"
#include "alluvium/experiments/training.h"
#include "alluvium/learners/adapter_average.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/service/engine.h"
#include "report.h"
#include "settings.h"

namespace alluvium::experiments {
namespace {

struct AverageOptions {
  std::vector<std::string> adapters;
  std::vector<double> weights;
  std::string out;
  std::string name;
  int64_t version = 1;
  Settings settings;
};

// What the readers say where there is no answer, and how they are asked, must be one thing.
void check_settings(const std::vector<learners::StoredAdapter>& adapters) {
  for (const learners::StoredAdapter& adapter : adapters) {
    ALLUVIUM_CHECK(adapter.manifest.settings == adapters[0].manifest.settings,
                   "{}@{} and {}@{} have different settings in their manifests",
                   adapters[0].manifest.name, adapters[0].manifest.version, adapter.manifest.name,
                   adapter.manifest.version);
  }
}

int average(const AverageOptions& o, const std::vector<std::string>& arguments) {
  const std::vector<double> weights =
      o.weights.empty() ? std::vector<double>(o.adapters.size(), 1.0) : o.weights;
  ALLUVIUM_CHECK(weights.size() == o.adapters.size(), "--weights has {} numbers for {} adapters",
                 weights.size(), o.adapters.size());
  const service::Models models = service::load_decoder_alone(o.settings.configuration());
  std::vector<learners::StoredAdapter> loaded;
  for (const std::string& directory : o.adapters) {
    loaded.push_back(learners::load_adapter(directory, models.decoder->geometry().layers,
                                            models.decoder->model()));
  }
  check_settings(loaded);
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<learners::WeightedAdapter> parts;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    parts.push_back({&loaded[i].state, weights[i]});
    names.push_back(fmt::format("{:.3g} of {}@{} ({})", weights[i] / sum, loaded[i].manifest.name,
                                loaded[i].manifest.version, loaded[i].manifest.data));
  }
  learners::AdapterManifest manifest;
  manifest.name = o.name.empty() ? loaded[0].manifest.name : o.name;
  manifest.version = o.version;
  manifest.created = now_utc();
  manifest.command = fmt::format("alluvium train average {}", fmt::join(arguments, " "));
  manifest.data = fmt::format("mean of {}", fmt::join(names, "; "));
  manifest.settings = loaded[0].manifest.settings;
  learners::save_adapter(o.out, learners::average_adapters(parts), manifest);
  fmt::print("{}\n", o.out);
  return 0;
}

}  // namespace

int run_train_average(const std::vector<std::string>& arguments) {
  AverageOptions options;
  CLI::App app(
      "The mean of readers that were trained further from one ancestor. It has no figures of its "
      "own yet: 'alluvium calibrate --reader DIR --write' measures them.",
      "alluvium train average");
  app.add_option("adapters", options.adapters, "directories of the adapters")
      ->required()
      ->expected(2, 64);
  app.add_option("--weights", options.weights, "one for each adapter; default: all the same")
      ->delimiter(',');
  app.add_option("--out", options.out, "directory of the mean")->required();
  app.add_option("--name", options.name, "of the mean; default: the first adapter's");
  app.add_option("--adapter-version", options.version, "of the mean");
  options.settings.add_to(app);
  if (const auto exit_code = Settings::parse(app, arguments)) {
    return *exit_code;
  }
  return average(options, arguments);
}

}  // namespace alluvium::experiments
