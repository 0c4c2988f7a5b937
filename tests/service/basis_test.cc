// The basis of keys and values in a running service.
#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_basis.h"
#include "alluvium/service/engine.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"
#include "tiny_engine.h"

namespace alluvium::tests {
namespace {

/// Of what a decoder makes of its own vocabulary.
memory_bank::KvBasis basis_of(const service::Models& models) {
  const c10::InferenceMode no_gradient;
  memory_bank::KvBasisFit fit(*models.decoder);
  for (backbone::TokenId first = 0; first < 6; ++first) {
    std::vector<backbone::TokenId> tokens;
    for (backbone::TokenId i = 0; i < 40; ++i) {
      tokens.push_back((17 * first + 7 * i) %
                       static_cast<backbone::TokenId>(TinyLlama::kVocabulary));
    }
    backbone::KvCache cache = models.decoder->start({}, 40);
    backbone::ReadRequest request;
    request.cache = &cache;
    request.tokens = tokens;
    request.capture = true;
    request.queries = true;
    fit.add(models.decoder->read({&request, 1}).front());
  }
  return fit.finish();
}

service::Configuration with_checkpoint(const std::string& directory, const std::string& basis) {
  service::Configuration configuration = tiny_configuration(directory);
  configuration.models.decoder = write_tiny_llama_gguf(directory, 1);
  configuration.models.device.dtype = "f32";
  configuration.models.device.device = "cpu";
  configuration.codec.basis = basis;
  return configuration;
}

}  // namespace

TEST_CASE("basis: a named one must be there and of this decoder, an installed one may be neither",
          "[service][transform]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "basis.safetensors";
  save_kv_basis(path, basis_of(make_tiny_models(directory.path())));
  const service::Models models = load_decoder_alone(with_checkpoint(directory.path(), path));
  REQUIRE(models.basis != nullptr);
  CHECK(models.basis->model == models.decoder->model());
  CHECK(load_decoder_alone(with_checkpoint(directory.path(), "none")).basis == nullptr);
  // What is installed, if anything, is the default decoder's.
  CHECK(load_decoder_alone(with_checkpoint(directory.path(), "auto")).basis == nullptr);

  const auto refuse = [&](const std::string& basis, const char* what) {
    const service::Configuration configuration = with_checkpoint(directory.path(), basis);
    CHECK_THROWS_WITH(load_decoder_alone(configuration), Catch::Contains(what));
    CHECK_THROWS_AS(load_decoder_alone(configuration), InvalidArgument);
  };
  refuse(directory / "nowhere", "codec.basis: there is no file");
  const TemporaryDirectory other;
  const std::string foreign = other / "basis.safetensors";
  save_kv_basis(foreign, basis_of(make_tiny_models(other.path(), 9)));
  refuse(foreign, "was fitted to another decoder");
}

TEST_CASE("basis: memories along it answer after a restart, and are made anew under another one",
          "[service][transform]") {
  const TemporaryDirectory directory;
  service::Models models = make_tiny_models(directory.path());
  models.basis = std::make_shared<const memory_bank::KvBasis>(basis_of(models));
  service::Configuration configuration = tiny_configuration(directory.path());
  configuration.codec.preset = "default";
  const auto text_of = [](service::Engine& engine) {
    return engine.ask(ask_for("Where do boats lie?")).text;
  };
  const auto bytes_of = [](service::Engine& engine) {
    const auto kinds = engine.memories().statistics.kinds;
    REQUIRE(kinds.size() == 1);
    CHECK(kinds.front().preset == "default");
    return kinds.front().bytes;
  };
  std::string answer;
  int64_t bytes = 0;
  {
    const auto engine = service::Engine::start(configuration, models);
    publish(*engine,
            {make_document("a", 1, "Harbour", "Boats lie in the old harbour by the mill.")});
    answer = text_of(*engine);
    bytes = bytes_of(*engine);
  }
  {
    const auto engine = service::Engine::start(configuration, models);
    CHECK(text_of(*engine) == answer);
    CHECK(bytes_of(*engine) == bytes);
    CHECK(engine->verify_memories().empty());
  }
  // Without it the preset stores ranges.
  models.basis = nullptr;
  const auto engine = service::Engine::start(configuration, models);
  wait_remade(*engine);
  CHECK_FALSE(text_of(*engine).empty());
  CHECK(bytes_of(*engine) > bytes);
  CHECK(engine->verify_memories().empty());
}

}  // namespace alluvium::tests
