#include "alluvium/service/bank_recall.h"

#include <cmath>

#include "alluvium/core/error.h"
#include "alluvium/service/engine.h"
#include "support/catch.h"
#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::tests {
namespace {

selectors::Sample asked(const std::string& prompt) {
  selectors::Sample sample{.id = "q", .text = prompt};
  sample.prompt = prompt;
  sample.answer = "ten";
  return sample;
}

}  // namespace

TEST_CASE("bank recall: the best document's memory behind the shared prefix",
          "[service][adapt_inf]") {
  const TemporaryDirectory directory;
  const service::Configuration configuration = tiny_configuration(directory.path());
  const auto engine = service::Engine::start(configuration, make_tiny_models(directory.path()));
  const auto recall = service::make_bank_recall(*engine, configuration);
  CHECK(!recall->recall(asked("Q Which ferries leave Bari? A"), 16));

  publish(*engine, {make_document("oslo", 1, "", "The harbour of Oslo has nine piers."),
                    make_document("bari", 1, "", "Ferries leave Bari each night at ten.")});
  const auto contexts = recall->recall(asked("Q Which ferries leave Bari? A"), 16);
  REQUIRE(contexts);
  const int64_t prefix = engine->codec("none").to_prefix({}, 1).slots();
  const auto bari = engine->store().find("default", "bari");
  REQUIRE(bari);
  CHECK(std::llround(contexts->without.mean_slots()) == prefix);
  CHECK(std::llround(contexts->with.mean_slots()) == prefix + bari->tokens);
}

TEST_CASE("bank recall: an instance without stored memories is refused", "[service][adapt_inf]") {
  const TemporaryDirectory directory;
  service::Configuration configuration = tiny_configuration(directory.path());
  configuration.answer.codec = "text";
  const auto engine = service::Engine::start(configuration, make_tiny_models(directory.path()));
  CHECK_THROWS_AS(service::make_bank_recall(*engine, configuration), NotSupported);
}

}  // namespace alluvium::tests
