#include "llama_weights.h"

#include <string>

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include "alluvium/core/error.h"

namespace alluvium::backbone {
namespace {

using Shape = std::vector<int64_t>;

// What the two kinds of checkpoint call the same tensor.
struct TensorNames {
  bool gguf;

  std::string embedding() const { return gguf ? "token_embd.weight" : "model.embed_tokens.weight"; }
  std::string final_norm() const { return gguf ? "output_norm.weight" : "model.norm.weight"; }
  std::string head() const { return gguf ? "output.weight" : "lm_head.weight"; }
  std::string of_layer(int64_t layer, const char* gguf_name, const char* huggingface_name) const {
    return gguf ? fmt::format("blk.{}.{}.weight", layer, gguf_name)
                : fmt::format("model.layers.{}.{}.weight", layer, huggingface_name);
  }
};

// One stored matrix with the order its rows are wanted in (empty = as stored).
struct Part {
  const StoredTensor* tensor;
  std::vector<int64_t> row_order;
};

// GGUF files hold the rows of q and k so that the two halves of a rotary pair are neighbours; the
// half-split pairing of Hugging Face, which this project computes in, wants all first halves of a
// head, then all second halves.
std::vector<int64_t> half_split_order(int64_t heads, int64_t head_dim) {
  std::vector<int64_t> order;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t part = 0; part < 2; ++part) {
      for (int64_t pair = 0; pair < head_dim / 2; ++pair) {
        order.push_back(head * head_dim + 2 * pair + part);
      }
    }
  }
  return order;
}

LinearWeight make_linear(const std::vector<Part>& parts, const DevicePolicy& policy) {
  std::vector<at::Tensor> dense;
  std::vector<const StoredTensor*> stored;
  std::vector<std::vector<int64_t>> orders;
  for (const Part& part : parts) {
    at::Tensor rows = dequantise(*part.tensor);
    if (!part.row_order.empty()) {
      rows = rows.index_select(0, at::tensor(part.row_order, at::kLong));
    }
    dense.push_back(rows.to(policy.dtype));
    stored.push_back(part.tensor);
    orders.push_back(part.row_order);
  }
  LinearWeight weight;
  weight.dense = at::cat(dense, 0).to(policy.device);
  if (policy.block_decode && BlockMatrix::supports(stored)) {
    weight.blocks.emplace(stored, orders);
  }
  return weight;
}

int64_t require_positive(const char* name, int64_t value) {
  if (value <= 0 || value > (int64_t{1} << 31)) {
    throw DataCorruption(fmt::format("checkpoint: {} is {}", name, value));
  }
  return value;
}

DecoderGeometry read_gguf_geometry(const Checkpoint& checkpoint) {
  const std::string architecture = checkpoint.text("general.architecture");
  if (architecture != "llama") {
    throw NotSupported(fmt::format("decoder architecture '{}'; supported: llama", architecture));
  }
  const std::string scaling = checkpoint.text("llama.rope.scaling.type", "none");
  if (scaling != "none" || checkpoint.find_tensor("rope_freqs.weight") != nullptr) {
    throw NotSupported(fmt::format("rotary scaling '{}'", scaling));
  }
  DecoderGeometry geometry;
  geometry.layers = checkpoint.integer("llama.block_count");
  geometry.d_model = checkpoint.integer("llama.embedding_length");
  geometry.heads = checkpoint.integer("llama.attention.head_count");
  geometry.kv_heads = checkpoint.integer("llama.attention.head_count_kv", geometry.heads);
  require_positive("llama.attention.head_count", geometry.heads);
  geometry.head_dim =
      checkpoint.integer("llama.attention.key_length", geometry.d_model / geometry.heads);
  geometry.d_ff = checkpoint.integer("llama.feed_forward_length");
  geometry.max_positions = checkpoint.integer("llama.context_length");
  geometry.rope_base = checkpoint.real("llama.rope.freq_base", 10000.0);
  geometry.norm_epsilon = checkpoint.real("llama.attention.layer_norm_rms_epsilon");
  return geometry;
}

DecoderGeometry read_huggingface_geometry(const Checkpoint& checkpoint) {
  const std::string type = checkpoint.text("config.model_type");
  if (type != "llama") {
    throw NotSupported(fmt::format("decoder model_type '{}'; supported: llama", type));
  }
  for (const char* key : {"config.rope_scaling.type", "config.rope_scaling.rope_type"}) {
    const std::string scaling = checkpoint.text(key, "default");
    if (scaling != "default") {
      throw NotSupported(fmt::format("rotary scaling '{}'", scaling));
    }
  }
  DecoderGeometry geometry;
  geometry.layers = checkpoint.integer("config.num_hidden_layers");
  geometry.d_model = checkpoint.integer("config.hidden_size");
  geometry.heads = checkpoint.integer("config.num_attention_heads");
  geometry.kv_heads = checkpoint.integer("config.num_key_value_heads", geometry.heads);
  require_positive("num_attention_heads", geometry.heads);
  geometry.head_dim = checkpoint.integer("config.head_dim", geometry.d_model / geometry.heads);
  geometry.d_ff = checkpoint.integer("config.intermediate_size");
  geometry.max_positions = checkpoint.integer("config.max_position_embeddings");
  geometry.rope_base = checkpoint.real("config.rope_theta", 10000.0);
  geometry.norm_epsilon = checkpoint.real("config.rms_norm_eps", 1e-6);
  return geometry;
}

}  // namespace

bool LlamaWeights::has_blocks() const {
  bool all = head.blocks.has_value();
  for (const LlamaLayer& layer : layers) {
    all = all && layer.qkv.blocks && layer.attention_out.blocks && layer.gate_up.blocks &&
          layer.down.blocks;
  }
  return all;
}

DecoderGeometry read_llama_geometry(const Checkpoint& checkpoint) {
  const bool gguf = std::string(checkpoint.kind()) == "gguf";
  DecoderGeometry geometry =
      gguf ? read_gguf_geometry(checkpoint) : read_huggingface_geometry(checkpoint);
  require_positive("layers", geometry.layers);
  require_positive("d_model", geometry.d_model);
  require_positive("kv_heads", geometry.kv_heads);
  require_positive("head_dim", geometry.head_dim);
  require_positive("d_ff", geometry.d_ff);
  require_positive("max_positions", geometry.max_positions);
  if (geometry.heads % geometry.kv_heads != 0 || geometry.head_dim % 2 != 0) {
    throw DataCorruption(fmt::format("checkpoint: {} heads, {} kv heads, head_dim {}",
                                     geometry.heads, geometry.kv_heads, geometry.head_dim));
  }
  const std::string name = TensorNames{gguf}.embedding();
  const StoredTensor* embedding = checkpoint.find_tensor(name);
  if (embedding == nullptr || embedding->shape.size() != 2 ||
      embedding->shape[1] != geometry.d_model) {
    throw DataCorruption(fmt::format("checkpoint: tensor {} is missing or not [vocabulary, {}]",
                                     name, geometry.d_model));
  }
  geometry.vocabulary = embedding->shape[0];
  return geometry;
}

LlamaWeights load_llama_weights(const Checkpoint& checkpoint, const DecoderGeometry& geometry,
                                const DevicePolicy& policy) {
  const TensorNames names{std::string(checkpoint.kind()) == "gguf"};
  const int64_t d = geometry.d_model;
  const int64_t q_rows = geometry.heads * geometry.head_dim;
  const int64_t kv_rows = geometry.kv_heads * geometry.head_dim;
  const auto norm = [&](const std::string& name) {
    return dequantise(checkpoint.require_tensor(name, {d})).to(policy.device);
  };
  const auto part = [&](const std::string& name, const Shape& shape,
                        std::vector<int64_t> order = {}) {
    return Part{&checkpoint.require_tensor(name, shape), std::move(order)};
  };
  std::vector<int64_t> q_order;
  std::vector<int64_t> k_order;
  if (names.gguf) {
    q_order = half_split_order(geometry.heads, geometry.head_dim);
    k_order = half_split_order(geometry.kv_heads, geometry.head_dim);
  }

  LlamaWeights weights;
  for (int64_t i = 0; i < geometry.layers; ++i) {
    LlamaLayer layer;
    layer.attention_norm = norm(names.of_layer(i, "attn_norm", "input_layernorm"));
    layer.qkv =
        make_linear({part(names.of_layer(i, "attn_q", "self_attn.q_proj"), {q_rows, d}, q_order),
                     part(names.of_layer(i, "attn_k", "self_attn.k_proj"), {kv_rows, d}, k_order),
                     part(names.of_layer(i, "attn_v", "self_attn.v_proj"), {kv_rows, d})},
                    policy);
    layer.attention_out = make_linear(
        {part(names.of_layer(i, "attn_output", "self_attn.o_proj"), {d, q_rows})}, policy);
    layer.feed_forward_norm = norm(names.of_layer(i, "ffn_norm", "post_attention_layernorm"));
    layer.gate_up =
        make_linear({part(names.of_layer(i, "ffn_gate", "mlp.gate_proj"), {geometry.d_ff, d}),
                     part(names.of_layer(i, "ffn_up", "mlp.up_proj"), {geometry.d_ff, d})},
                    policy);
    layer.down = make_linear(
        {part(names.of_layer(i, "ffn_down", "mlp.down_proj"), {d, geometry.d_ff})}, policy);
    weights.layers.push_back(std::move(layer));
  }
  weights.final_norm = norm(names.final_norm());
  const Shape table = {geometry.vocabulary, d};
  LinearWeight embedding = make_linear({part(names.embedding(), table)}, policy);
  weights.embedding = embedding.dense;
  weights.head = checkpoint.find_tensor(names.head()) != nullptr
                     ? make_linear({part(names.head(), table)}, policy)
                     : std::move(embedding);
  return weights;
}

}  // namespace alluvium::backbone
