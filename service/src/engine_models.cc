#include <filesystem>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/device.h"
#include "alluvium/core/error.h"
#include "alluvium/service/engine.h"

namespace alluvium::service {
namespace {

constexpr const char* kDefaultDecoder =
    "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr const char* kDefaultEncoder = "models/all-minilm-l6-v2";

std::string model_path(const std::string& key, const std::string& configured,
                       const char* fallback) {
  const std::string path = configured.empty()
                               ? (std::filesystem::path(cache_directory()) / fallback).string()
                               : configured;
  ALLUVIUM_CHECK(std::filesystem::exists(path), "{}: there is no model at {}{}", key, path,
                 configured.empty() ? "; './run build' installs the default models" : "");
  return path;
}

}  // namespace

std::string decoder_path(const ModelsConfiguration& configuration) {
  return model_path("models.decoder", configuration.decoder, kDefaultDecoder);
}

Models load_models(const Configuration& configuration) {
  const std::string decoder_path = service::decoder_path(configuration.models);
  const std::string encoder_path =
      model_path("models.encoder", configuration.models.encoder, kDefaultEncoder);
  const backbone::DevicePolicy policy = backbone::choose_device(configuration.models.device);

  Models models;
  const auto decoder = backbone::open_checkpoint(decoder_path);
  models.decoder_tokenizer = backbone::load_tokenizer(*decoder, decoder_path);
  models.decoder = backbone::load_decoder(*decoder, policy);
  const auto encoder = backbone::open_checkpoint(encoder_path);
  models.encoder =
      backbone::load_encoder(*encoder, backbone::load_tokenizer(*encoder, encoder_path), policy);
  return models;
}

}  // namespace alluvium::service
