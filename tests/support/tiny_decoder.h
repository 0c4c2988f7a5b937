// The tiny Llama, loaded: what tests of training and of gradients begin with. Needs the room backbone.
#pragma once

#include <memory>
#include <string>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/device.h"
#include "alluvium/backbone/tokenizer.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {

/// In float32 on the CPU; random weights by a fixed seed. The checkpoint goes with it.
struct TinyDecoder {
  TemporaryDirectory directory;
  std::string path = write_tiny_llama_gguf(directory.path(), 7);
  std::unique_ptr<backbone::Checkpoint> checkpoint = backbone::open_checkpoint(path);
  std::shared_ptr<const backbone::Decoder> decoder =
      backbone::load_decoder(*checkpoint, backbone::reference_policy());
  std::shared_ptr<const backbone::Tokenizer> tokenizer =
      backbone::load_tokenizer(*checkpoint, path);
};

}  // namespace alluvium::tests
