// The tiny Llama with a shared prefix and its codecs, for tests of what codecs make.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>

#include "alluvium/memory_bank/codec.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {

using backbone::TokenId;
using memory_bank::Chunk;
using memory_bank::Codec;
using memory_bank::CodecContext;
using memory_bank::CodecOptions;
using memory_bank::CodecRegistry;
using memory_bank::Memory;
using Tokens = std::vector<TokenId>;
using Memories = std::vector<std::shared_ptr<const Memory>>;

inline const Tokens kPrefix = {0, 40, 41, 42};
inline const Tokens kQuestion = {60, 61, 62, 63, 64};

/// Float32 on a device.
inline backbone::DevicePolicy policy_on(c10::Device device) {
  backbone::DevicePolicy policy = backbone::reference_policy();
  policy.device = device;
  return policy;
}

/// The tiny Llama with a shared prefix.
struct TinyModel {
  explicit TinyModel(int64_t number_of_layers = TinyLlama::kLayers,
                     c10::Device where = c10::Device(c10::DeviceType::CPU))
      : layers(number_of_layers), device(where) {
    memory_bank::register_codecs(registry);
  }

  const int64_t layers;
  const c10::Device device;
  TemporaryDirectory directory;
  std::string path = write_tiny_llama_gguf(directory.path(), 5, layers);
  std::unique_ptr<backbone::Checkpoint> checkpoint = backbone::open_checkpoint(path);
  std::unique_ptr<backbone::Tokenizer> tokenizer = backbone::load_tokenizer(*checkpoint, path);
  std::unique_ptr<backbone::Decoder> decoder =
      backbone::load_decoder(*checkpoint, policy_on(device));
  memory_bank::SharedPrefix prefix = memory_bank::read_shared_prefix(*decoder, kPrefix);
  CodecRegistry registry{"codec"};

  CodecContext context(const CodecOptions& options = {}) const {
    return {decoder.get(), tokenizer.get(), &prefix, options};
  }

  std::unique_ptr<Codec> make(const std::string& name, const CodecOptions& options = {}) const {
    return registry.make(name, context(options));
  }

  /// Logits after each token of the question, attended to `prefix_for_it`.
  at::Tensor ask(const backbone::KvPrefix& prefix_for_it) const {
    return ask(decoder->start(prefix_for_it, static_cast<int64_t>(kQuestion.size())));
  }

  /// The same over what a cache holds.
  at::Tensor ask(backbone::KvCache cache) const { return read(cache, kQuestion); }

  /// The same by reading everything as one text.
  at::Tensor ask_plainly(const Tokens& document) const {
    Tokens text = kPrefix;
    text.insert(text.end(), document.begin(), document.end());
    text.insert(text.end(), kQuestion.begin(), kQuestion.end());
    backbone::KvCache cache = decoder->start({}, static_cast<int64_t>(text.size()));
    const at::Tensor logits = read(cache, text);
    const auto asked = static_cast<int64_t>(kQuestion.size());
    return logits.narrow(0, logits.size(0) - asked, asked);
  }

 private:
  at::Tensor read(backbone::KvCache& cache, const Tokens& tokens) const {
    backbone::ReadRequest request;
    request.cache = &cache;
    request.tokens = tokens;
    request.logits = backbone::Logits::all;
    return decoder->read({&request, 1}).front().logits;
  }
};

inline Chunk chunk_of(TokenId first, std::size_t length) {
  Chunk chunk;
  for (std::size_t i = 0; i < length; ++i) {
    chunk.tokens.push_back(static_cast<TokenId>((first + 7 * i) % TinyLlama::kVocabulary));
  }
  return chunk;
}

inline Memories compress(const Codec& codec, const std::vector<Chunk>& chunks) {
  Memories memories;
  for (Memory& memory : codec.compress(chunks)) {
    memories.push_back(std::make_shared<const Memory>(std::move(memory)));
  }
  return memories;
}

inline double difference(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.sizes() == b.sizes());
  return at::max(at::abs(a - b)).item<double>();
}

}  // namespace alluvium::tests
