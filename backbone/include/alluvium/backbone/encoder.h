// A frozen sentence encoder: texts in, unit vectors out.
//
// Source : BERT (Devlin et al., 2019); mean pooling and normalisation of Sentence-BERT (Reimers and
// Gurevych, 2019). Threads: immutable; embed() may run on many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/device.h"
#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/sha256.h"

namespace alluvium::backbone {

class Encoder {
 public:
  virtual ~Encoder() = default;

  /// Length of an embedding (MiniLM-L6: 384).
  virtual int64_t dimension() const = 0;

  /// Identity of weights, tokenizer and pooling: vectors of different encoders are never compared.
  virtual const Digest& fingerprint() const = 0;

  /// float32 [texts, dimension] on the CPU, each row of length 1; [0, dimension] for no texts.
  /// Texts past max_tokens are cut there. Texts of any lengths travel packed, without padding.
  /// Records no gradient.
  virtual at::Tensor embed(std::span<const std::string> texts) const = 0;
};

/// Builds the encoder of a Hugging Face BERT checkpoint. `max_tokens`: the cut, [CLS] and [SEP]
/// counted (all-MiniLM-L6-v2: 256). Throws NotSupported naming any other architecture.
std::unique_ptr<Encoder> load_encoder(const Checkpoint& checkpoint,
                                      std::shared_ptr<const Tokenizer> tokenizer,
                                      const DevicePolicy& policy, int64_t max_tokens = 256);

}  // namespace alluvium::backbone
