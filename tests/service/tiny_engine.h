// An engine over tiny models with random weights: everything but sensible answers, in milliseconds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "alluvium/service/engine.h"

namespace alluvium::tests {

/// Embeds a text as its hashed words, 64 dimensions: texts that share words are near.
std::shared_ptr<const backbone::Encoder> make_word_encoder();

/// Decoder and tokenizer of write_tiny_llama_gguf() in float32, and the word encoder. The
/// checkpoint is written below `directory`.
service::Models make_tiny_models(const std::string& directory, uint64_t seed = 1);

/// Short templates that fit the tiny vocabulary and context; stores below `directory`.
service::Configuration tiny_configuration(const std::string& directory);

/// The default models in float32, with the default templates; stores below `directory`. Nothing
/// when the models are absent.
std::optional<service::Models> default_models();
service::Configuration reference_configuration(const std::string& directory);

Document make_document(const std::string& id, uint64_t version, const std::string& title,
                       const std::string& text, const std::string& name_space = "default");

/// Logs and waits until it is applied; fails the test when that takes a minute.
int64_t publish(service::Engine& engine, const std::vector<Document>& documents);
int64_t erase(service::Engine& engine, const std::string& id, uint64_t version);

/// A question with the given codec, everything else as configured.
service::Question ask_for(const std::string& text, const std::string& codec = "");

/// Turns the bits of one byte in the first memory record of a store's first segment file.
void damage_first_record(const service::Configuration& configuration);

/// Waits until nothing is being re-made; fails the test after a minute.
void wait_remade(service::Engine& engine);

}  // namespace alluvium::tests
