// The tiny engine with readers to load: what tests of readers and of refusing begin with.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "alluvium/core/random.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/learners/lora.h"
#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::tests {

using service::Answer;
using service::Engine;

/// A reader strong enough to change what the tiny decoder says, saved as an adapter.
inline std::string save_reader(const service::Models& models, const std::string& directory,
                               const std::string& name, int64_t version, uint64_t seed,
                               const std::map<std::string, std::string>& settings = {}) {
  learners::LoraOptions options;
  options.rank = 2;
  options.alpha = 4;
  options.seed = seed;
  const learners::Lora lora(*models.decoder, options);
  backbone::AdapterState state = lora.copy();
  Random random(seed);
  for (auto& layer : state.layers) {
    for (auto& factors : layer.of) {
      auto* numbers = factors.b.data_ptr<float>();
      for (int64_t i = 0; i < factors.b.numel(); ++i) {
        numbers[i] = static_cast<float>(random.normal());
      }
    }
  }
  learners::AdapterManifest manifest;
  manifest.name = name;
  manifest.version = version;
  manifest.metrics["f1"] = 50;
  manifest.settings = settings;
  const std::string path = fmt::format("{}/{}-{}", directory, name, version);
  learners::save_adapter(path, state, manifest);
  return path;
}

struct ReadEngine {
  ReadEngine() { start(); }

  void start() {
    engine.reset();
    engine = Engine::start(configuration, models);
  }

  std::string reader(const std::string& name, int64_t version, uint64_t seed) const {
    return save_reader(models, directory.path(), name, version, seed);
  }

  Answer ask(const std::string& named = "") const {
    service::Question question = ask_for("piers of Oslo");
    question.reader = named;
    return engine->ask(question);
  }

  TemporaryDirectory directory;
  service::Models models = make_tiny_models(directory.path());
  service::Configuration configuration = tiny_configuration(directory.path());
  std::unique_ptr<Engine> engine;
};

inline const std::vector<Document> kHarbours = {
    make_document("oslo", 1, "Oslo", "The harbour of Oslo has nine piers and one crane."),
    make_document("riga", 1, "Riga", "The harbour of Riga has four piers and seven cranes."),
};

}  // namespace alluvium::tests
