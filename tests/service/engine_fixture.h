// An engine over tiny models that a test can start again, and three documents for it.
#pragma once

#include <memory>
#include <vector>

#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::tests {

struct TinyEngine {
  TinyEngine() { start(); }

  void start() {
    engine.reset();
    engine = service::Engine::start(configuration, models);
  }

  TemporaryDirectory directory;
  service::Models models = make_tiny_models(directory.path());
  service::Configuration configuration = tiny_configuration(directory.path());
  std::unique_ptr<service::Engine> engine;
};

inline const std::vector<Document> kHarbours = {
    make_document("oslo", 1, "Oslo", "The harbour of Oslo has nine piers and one crane."),
    make_document("riga", 1, "Riga", "The harbour of Riga has four piers and seven cranes."),
    make_document("bari", 1, "Bari", "Ferries leave Bari for Durres each night at ten."),
};

}  // namespace alluvium::tests
