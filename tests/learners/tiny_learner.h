// A tiny decoder and adapters for it.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/learners/lora.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {

struct TinyDecoder {
  TemporaryDirectory directory;
  std::unique_ptr<backbone::Checkpoint> checkpoint =
      backbone::open_checkpoint(write_tiny_llama_gguf(directory.path(), 7));
  std::unique_ptr<backbone::Decoder> decoder =
      backbone::load_decoder(*checkpoint, backbone::reference_policy());
};

inline learners::LoraOptions small_lora(uint64_t seed = 1) {
  learners::LoraOptions options;
  options.rank = 2;
  options.alpha = 4;
  options.seed = seed;
  return options;
}

}  // namespace alluvium::tests
