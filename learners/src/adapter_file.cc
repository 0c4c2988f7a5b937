#include "alluvium/learners/adapter_file.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "alluvium/backbone/safetensors.h"
#include "alluvium/core/error.h"

namespace alluvium::learners {
namespace {

using backbone::AdapterState;
using backbone::LowRankFactors;
using backbone::Projection;
using nlohmann::json;

constexpr const char* kFactors = "/adapter_model.safetensors";
constexpr const char* kConfig = "/adapter_config.json";
constexpr const char* kManifest = "/manifest.json";

std::string tensor_name(int64_t layer, Projection p, const char* which) {
  const bool attention =
      p == Projection::q || p == Projection::k || p == Projection::v || p == Projection::o;
  return fmt::format("base_model.model.model.layers.{}.{}.{}.lora_{}.weight", layer,
                     attention ? "self_attn" : "mlp", to_string(p), which);
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    throw InvalidArgument(fmt::format("cannot read '{}'", path));
  }
  return text.str();
}

json read_json(const std::string& path) {
  try {
    return json::parse(read_text(path));
  } catch (const json::exception& error) {
    throw DataCorruption(fmt::format("'{}' is not JSON: {}", path, error.what()));
  }
}

void write_json(const std::string& path, const json& value) {
  std::ofstream file(path + ".new", std::ios::binary);
  file << value.dump(2) << '\n';
  file.close();
  std::error_code error;
  if (file) {
    std::filesystem::rename(path + ".new", path, error);
  }
  if (!file || error) {
    throw ResourceExhausted(fmt::format("cannot write '{}'", path));
  }
}

json to_config(const AdapterState& state) {
  std::set<std::string> targets;
  int64_t rank = 0;
  for (const auto& layer : state.layers) {
    for (const Projection p : backbone::kAllProjections) {
      if (layer[p].defined()) {
        targets.insert(to_string(p));
        const int64_t own = layer[p].a.size(0);
        ALLUVIUM_CHECK(rank == 0 || rank == own, "factors of ranks {} and {} in one adapter", rank,
                       own);
        rank = own;
      }
    }
  }
  ALLUVIUM_CHECK(rank > 0, "the adapter has no factors");
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"r", rank},
          {"lora_alpha", state.scale * static_cast<double>(rank)},
          {"use_rslora", false},
          {"use_dora", false},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"target_modules", targets}};
}

double read_scale(const json& config) {
  if (config.at("peft_type") != "LORA" || config.value("use_dora", false) ||
      config.value("bias", "none") != "none" ||
      !config.value("rank_pattern", json::object()).empty() ||
      !config.value("alpha_pattern", json::object()).empty()) {
    throw NotSupported("the adapter is not plain LoRA of one rank and scale, without biases");
  }
  const auto rank = config.at("r").get<double>();
  if (rank < 1) {
    throw DataCorruption(fmt::format("the adapter's rank is {}", rank));
  }
  const auto alpha = config.at("lora_alpha").get<double>();
  return alpha / (config.value("use_rslora", false) ? std::sqrt(rank) : rank);
}

AdapterManifest read_manifest(const std::string& path) {
  const json value = read_json(path);
  try {
    AdapterManifest manifest;
    manifest.name = value.at("name").get<std::string>();
    manifest.version = value.at("version").get<int64_t>();
    manifest.model = value.at("model").get<std::string>();
    manifest.created = value.value("created", "");
    manifest.command = value.value("command", "");
    manifest.data = value.value("data", "");
    manifest.sha256 = value.at("sha256").get<std::string>();
    manifest.metrics = value.value("metrics", std::map<std::string, double>());
    manifest.settings = value.value("settings", std::map<std::string, std::string>());
    return manifest;
  } catch (const json::exception& error) {
    throw DataCorruption(fmt::format("'{}' is not a manifest: {}", path, error.what()));
  }
}

void check_name(const std::string& name) {
  const auto fits = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  ALLUVIUM_CHECK(!name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), fits),
                 "an adapter's name has 1 to 64 letters, digits, '-', '_' or '.', got '{}'", name);
}

}  // namespace

void save_adapter(const std::string& directory, const AdapterState& state, AdapterManifest manifest,
                  bool half_width) {
  check_name(manifest.name);
  for (const auto& [metric, value] : manifest.metrics) {
    ALLUVIUM_CHECK(std::isfinite(value), "metric {} of adapter '{}' is not finite", metric,
                   manifest.name);
  }
  const json config = to_config(state);
  backbone::TensorMap tensors;
  for (std::size_t l = 0; l < state.layers.size(); ++l) {
    for (const Projection p : backbone::kAllProjections) {
      const LowRankFactors& factors = state.layers[l][p];
      if (factors.defined()) {
        const auto dtype = half_width ? at::kBFloat16 : at::kFloat;
        tensors[tensor_name(static_cast<int64_t>(l), p, "A")] = factors.a.detach().to(dtype);
        tensors[tensor_name(static_cast<int64_t>(l), p, "B")] = factors.b.detach().to(dtype);
      }
    }
  }
  std::filesystem::create_directories(directory);
  backbone::write_safetensors(directory + kFactors, tensors);
  write_json(directory + kConfig, config);
  manifest.model = to_hex(state.model);
  manifest.sha256 = to_hex(sha256(read_text(directory + kFactors)));
  write_json(directory + kManifest, {{"name", manifest.name},
                                     {"version", manifest.version},
                                     {"model", manifest.model},
                                     {"created", manifest.created},
                                     {"command", manifest.command},
                                     {"data", manifest.data},
                                     {"sha256", manifest.sha256},
                                     {"metrics", manifest.metrics},
                                     {"settings", manifest.settings}});
}

StoredAdapter load_adapter(const std::string& directory, int64_t layers, const Digest& model) {
  ALLUVIUM_CHECK(std::filesystem::exists(directory + kFactors), "there is no adapter in '{}'",
                 directory);
  StoredAdapter adapter;
  if (std::filesystem::exists(directory + kManifest)) {
    adapter.manifest = read_manifest(directory + kManifest);
    const std::string found = to_hex(sha256(read_text(directory + kFactors)));
    if (found != adapter.manifest.sha256) {
      throw DataCorruption(fmt::format("'{}{}' has SHA-256 {}, its manifest says {}", directory,
                                       kFactors, found, adapter.manifest.sha256));
    }
    ALLUVIUM_CHECK(adapter.manifest.model == to_hex(model),
                   "adapter '{}' was made for model {}, the decoder is model {}",
                   adapter.manifest.name, adapter.manifest.model, to_hex(model));
  } else {
    const std::filesystem::path path = std::filesystem::path(directory).lexically_normal();
    adapter.manifest.name = (path.has_filename() ? path : path.parent_path()).filename().string();
  }
  check_name(adapter.manifest.name);
  const json config = read_json(directory + kConfig);
  try {
    adapter.state.scale = read_scale(config);
  } catch (const json::exception& error) {
    throw DataCorruption(fmt::format("'{}{}': {}", directory, kConfig, error.what()));
  }
  adapter.state.model = model;
  adapter.state.layers.resize(layers);
  backbone::TensorMap tensors = backbone::load_safetensors(directory + kFactors);
  for (int64_t l = 0; l < layers; ++l) {
    for (const Projection p : backbone::kAllProjections) {
      auto a = tensors.extract(tensor_name(l, p, "A"));
      auto b = tensors.extract(tensor_name(l, p, "B"));
      if (!a.empty()) {
        adapter.state.layers[l][p].a = a.mapped().to(at::kFloat);
      }
      if (!b.empty()) {
        adapter.state.layers[l][p].b = b.mapped().to(at::kFloat);
      }
    }
  }
  if (!tensors.empty()) {
    throw NotSupported(
        fmt::format("adapter '{}' has a tensor '{}', which no projection of {} layers takes",
                    adapter.manifest.name, tensors.begin()->first, layers));
  }
  return adapter;
}

}  // namespace alluvium::learners
