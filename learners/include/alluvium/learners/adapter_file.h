// An adapter on the disk: factors, and what they are.
//
// Purpose: a directory with adapter_model.safetensors and adapter_config.json as the PEFT library keeps a LoRA adapter of a Llama model
//          (so that either program reads the other's), and manifest.json with what this project wants to know of it.
// Source : PEFT's checkpoint format: tensor names base_model.model.model.layers.N.self_attn.q_proj.lora_A.weight and so on.
// Differs: an adapter without a manifest is taken as made for whatever decoder loads it; its shapes must fit.
// Threads: thread-safe functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "alluvium/backbone/adapter.h"

namespace alluvium::learners {

struct AdapterManifest {
  std::string name;     ///< e.g. "squad-reader"; letters, digits, '-', '_', '.'
  int64_t version = 1;  ///< at least 1
  std::string model;    ///< hex of Decoder::model(); empty when the file names none
  std::string created;  ///< ISO 8601 date and time, UTC
  std::string command;  ///< that made it
  std::string data;     ///< what it was trained on
  std::string sha256;   ///< hex, of adapter_model.safetensors
  std::map<std::string, double> metrics;  ///< on held-back data, in percent where a rate
  /// What its user must know: "no_answer", what it says where the documents have no answer
  std::map<std::string, std::string> settings;
};

struct StoredAdapter {
  AdapterManifest manifest;
  backbone::AdapterState state;  ///< float32
};

/// Writes the factors in bfloat16 (`half_width`) or float32. `manifest.sha256` and `.model` are filled in. Throws ResourceExhausted.
void save_adapter(const std::string& directory, const backbone::AdapterState& state,
                  AdapterManifest manifest, bool half_width = true);

/// Throws InvalidArgument when there is no adapter in the directory, NotSupported naming a PEFT feature other than LoRA on the projections
/// of a Llama block, DataCorruption when a file is damaged or is not the one the manifest names.
StoredAdapter load_adapter(const std::string& directory, int64_t layers, const Digest& model);

}  // namespace alluvium::learners
