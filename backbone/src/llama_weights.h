// The tensors of a Llama-family decoder, in the forms its two paths need.
//
// Threads: immutable after load_llama_weights().
#pragma once

#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/decoder.h"
#include "block_matrix.h"

namespace alluvium::backbone {

/// One matrix: dense for many rows at once, blocks for one row at a time (when the checkpoint has
/// them and the policy asks).
struct LinearWeight {
  at::Tensor dense;  ///< [out, in], compute dtype and device
  std::optional<BlockMatrix> blocks;
};

struct LlamaLayer {
  at::Tensor attention_norm;  ///< [d_model] float32
  LinearWeight qkv;           ///< rows: all query heads, key heads, value heads
  LinearWeight attention_out;
  at::Tensor feed_forward_norm;
  LinearWeight gate_up;  ///< rows: gate, then up
  LinearWeight down;
};

struct LlamaWeights {
  at::Tensor embedding;  ///< [vocabulary, d_model], compute dtype
  std::vector<LlamaLayer> layers;
  at::Tensor final_norm;
  LinearWeight head;  ///< shares `embedding` when tied

  /// Every matrix has blocks, so that a step never needs a dense one.
  bool has_blocks() const;
};

/// Reads the geometry of a supported checkpoint. Throws NotSupported naming architecture or rotary
/// scaling it does not know.
DecoderGeometry read_llama_geometry(const Checkpoint& checkpoint);

LlamaWeights load_llama_weights(const Checkpoint& checkpoint, const DecoderGeometry& geometry,
                                const DevicePolicy& policy);

}  // namespace alluvium::backbone
