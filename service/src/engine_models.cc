#include <filesystem>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/device.h"
#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_basis.h"
#include "alluvium/service/engine.h"

namespace alluvium::service {
namespace {

constexpr const char* kDefaultDecoder =
    "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr const char* kDefaultEncoder = "models/all-minilm-l6-v2";
constexpr const char* kDefaultBasis = "bases/smollm2-135m-instruct.safetensors";

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

std::shared_ptr<const memory_bank::KvBasis> load_basis(const Configuration& configuration) {
  const std::string& named = configuration.codec.basis;
  const std::string path =
      named == "auto" ? (std::filesystem::path(cache_directory()) / kDefaultBasis).string() : named;
  if (named == "none" || (named == "auto" && !std::filesystem::exists(path))) {
    return nullptr;
  }
  ALLUVIUM_CHECK(std::filesystem::exists(path), "codec.basis: there is no file {}", path);
  return std::make_shared<const memory_bank::KvBasis>(memory_bank::load_kv_basis(path));
}

Models load_decoder_alone(const Configuration& configuration) {
  const std::string path = decoder_path(configuration.models);
  const auto checkpoint = backbone::open_checkpoint(path);
  Models models;
  models.decoder_tokenizer = backbone::load_tokenizer(*checkpoint, path);
  models.decoder =
      backbone::load_decoder(*checkpoint, backbone::choose_device(configuration.models.device));
  models.basis = load_basis(configuration);
  if (models.basis && models.basis->model != models.decoder->model()) {
    ALLUVIUM_CHECK(configuration.codec.basis == "auto",
                   "codec.basis: {} was fitted to another decoder than {}",
                   configuration.codec.basis, path);
    models.basis = nullptr;
  }
  return models;
}

Models load_models(const Configuration& configuration) {
  // Before the decoder is read: a missing file is told at once.
  const std::string path =
      model_path("models.encoder", configuration.models.encoder, kDefaultEncoder);
  Models models = load_decoder_alone(configuration);
  const auto checkpoint = backbone::open_checkpoint(path);
  models.encoder = backbone::load_encoder(*checkpoint, backbone::load_tokenizer(*checkpoint, path),
                                          backbone::choose_device(configuration.models.device));
  return models;
}

}  // namespace alluvium::service
