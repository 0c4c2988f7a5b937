#include "alluvium/learners/adapter_file.h"

#include <filesystem>
#include <fstream>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "alluvium/backbone/safetensors.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "tiny_learner.h"

namespace alluvium::learners {
namespace {

using backbone::Projection;

constexpr int64_t kLayers = tests::TinyLlama::kLayers;

backbone::AdapterState filled_adapter(const tests::TinyDecoder& tiny) {
  LoraOptions options = tests::small_lora();
  options.projections = {Projection::q, Projection::v, Projection::down};
  const Lora lora(*tiny.decoder, options);
  backbone::AdapterState state = lora.copy();
  Random random(2);
  for (auto& layer : state.layers) {
    for (auto& factors : layer.of) {
      if (factors.defined()) {
        factors.b.fill_(random.normal());
      }
    }
  }
  return state;
}

AdapterManifest named(const std::string& name) {
  AdapterManifest manifest;
  manifest.name = name;
  return manifest;
}

void flip_last_byte(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(-1, std::ios::end);
  file.put(byte);
}

}  // namespace

TEST_CASE("adapter file: what is saved is loaded", "[learners][adapter_file]") {
  const tests::TinyDecoder tiny;
  const backbone::AdapterState state = filled_adapter(tiny);
  const tests::TemporaryDirectory directory;
  const bool half_width = GENERATE(true, false);
  AdapterManifest manifest;
  manifest.name = "tiny-reader";
  manifest.version = 3;
  manifest.command = "train";
  manifest.metrics["f1"] = 61.5;
  manifest.settings["no_answer"] = "nowhere";
  save_adapter(directory / "r", state, manifest, half_width);
  const StoredAdapter loaded = load_adapter(directory / "r", kLayers, tiny.decoder->model());
  CHECK(loaded.manifest.name == "tiny-reader");
  CHECK(loaded.manifest.version == 3);
  CHECK(loaded.manifest.metrics.at("f1") == 61.5);
  CHECK(loaded.manifest.settings.at("no_answer") == "nowhere");
  CHECK(loaded.state.scale == state.scale);
  CHECK(loaded.state.model == tiny.decoder->model());
  for (int64_t l = 0; l < kLayers; ++l) {
    for (const Projection p : backbone::kAllProjections) {
      const auto& expected = state.layers[l][p];
      const auto& found = loaded.state.layers[l][p];
      REQUIRE(found.defined() == expected.defined());
      if (found.defined()) {
        const auto stored = [&](const at::Tensor& t) {
          return half_width ? t.to(at::kBFloat16).to(at::kFloat) : t;
        };
        CHECK(at::equal(found.a, stored(expected.a)));
        CHECK(at::equal(found.b, stored(expected.b)));
      }
    }
  }
  CHECK_NOTHROW(tiny.decoder->prepare(loaded.state));
}

TEST_CASE("adapter file: names and configuration are those of the PEFT library",
          "[learners][adapter_file]") {
  const tests::TinyDecoder tiny;
  const tests::TemporaryDirectory directory;
  save_adapter(directory / "r", filled_adapter(tiny), named("r"));
  const auto tensors = backbone::load_safetensors(directory / "r/adapter_model.safetensors");
  CHECK(tensors.size() == 2 * 3 * kLayers);
  CHECK(tensors.count("base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight") == 1);
  CHECK(tensors.at("base_model.model.model.layers.0.mlp.down_proj.lora_B.weight").size(1) == 2);
  std::ifstream file(directory / "r/adapter_config.json");
  const auto config = nlohmann::json::parse(file);
  CHECK(config.at("peft_type") == "LORA");
  CHECK(config.at("r") == 2);
  CHECK(config.at("lora_alpha") == 4.0);
  const std::vector<std::string> targets = {"down_proj", "q_proj", "v_proj"};
  CHECK(config.at("target_modules") == targets);
}

TEST_CASE("adapter file: what cannot be used is refused, each by its reason",
          "[learners][adapter_file]") {
  const tests::TinyDecoder tiny;
  const tests::TemporaryDirectory directory;
  const std::string path = directory / "r";
  save_adapter(path, filled_adapter(tiny), named("r"));
  const auto load = [&] { return load_adapter(path, kLayers, tiny.decoder->model()); };
  SECTION("no directory") {
    CHECK_THROWS_AS(load_adapter(directory / "s", kLayers, tiny.decoder->model()), InvalidArgument);
  }
  SECTION("a flipped bit") {
    flip_last_byte(path + "/adapter_model.safetensors");
    CHECK_THROWS_AS(load(), DataCorruption);
  }
  SECTION("another model") {
    Digest other = tiny.decoder->model();
    other[3] ^= 4;
    CHECK_THROWS_WITH(load_adapter(path, kLayers, other), Catch::Contains("made for model"));
  }
  SECTION("more layers than the decoder has") {
    CHECK_THROWS_AS(load_adapter(path, kLayers - 1, tiny.decoder->model()), NotSupported);
  }
  SECTION("a manifest that is no JSON") {
    std::ofstream(path + "/manifest.json") << "{";
    CHECK_THROWS_AS(load(), DataCorruption);
  }
  SECTION("DoRA") {
    std::ofstream(path + "/adapter_config.json")
        << R"({"peft_type":"LORA","r":2,"lora_alpha":4,"use_dora":true})";
    CHECK_THROWS_AS(load(), NotSupported);
  }
  SECTION("without a manifest it is taken as it is") {
    std::filesystem::remove(path + "/manifest.json");
    CHECK(load().manifest.name == "r");
  }
  SECTION("a name with a slash") {
    CHECK_THROWS_AS(save_adapter(path, filled_adapter(tiny), named("a/b")), InvalidArgument);
  }
}

}  // namespace alluvium::learners
