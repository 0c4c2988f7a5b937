// Tiny models with random weights, so that tests of decoders need no download.
#pragma once

#include <cstdint>
#include <string>

namespace alluvium::tests {

/// Sizes of the tiny Llama.
struct TinyLlama {
  static constexpr int64_t kLayers = 2;
  static constexpr int64_t kModelWidth = 32;
  static constexpr int64_t kHeads = 4;
  static constexpr int64_t kKvHeads = 2;
  static constexpr int64_t kHeadWidth = 8;
  static constexpr int64_t kFeedForwardWidth = 64;
  static constexpr int64_t kVocabulary = 128;
  static constexpr int64_t kContext = 256;
};

/// Writes `<directory>/tiny.gguf`: architecture "llama", F32, tied head, a byte-level tokenizer
/// ("smollm") over printable ASCII, space and line feed with a few merges and three special tokens
/// (<|endoftext|> 0, <|im_start|> 1, <|im_end|> 2). Query and key rows are permuted as GGUF
/// conversions do. Returns the file's path.
std::string write_tiny_llama_gguf(const std::string& directory, uint64_t seed,
                                  int64_t layers = TinyLlama::kLayers);

/// Writes the same model and tokenizer as a Hugging Face directory (config.json, model.safetensors,
/// tokenizer.json) into
/// `<directory>/tiny`. Returns that path.
std::string write_tiny_llama_huggingface(const std::string& directory, uint64_t seed);

}  // namespace alluvium::tests
