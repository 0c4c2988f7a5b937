#include "support/synthetic_checkpoint.h"

#include <filesystem>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/random.h"
#include "support/checkpoint_writers.h"

namespace alluvium::tests {
namespace {

using Size = TinyLlama;

constexpr float kNormEpsilon = 1e-5F;
constexpr float kRopeBase = 10000.0F;
constexpr int32_t kNormalToken = 1;
constexpr int32_t kControlToken = 3;
constexpr std::size_t kSpecialTokens = 3;

// A matrix of the model under both naming schemes. `rotary_heads` > 0 marks the rows that GGUF
// permutes.
struct Weight {
  std::string huggingface_name;
  std::string gguf_name;
  std::vector<int64_t> shape;
  std::vector<float> values;
  int64_t rotary_heads = 0;
};

class WeightMaker {
 public:
  explicit WeightMaker(uint64_t seed) : random_(seed) {}

  void add(const std::string& huggingface_name, const std::string& gguf_name,
           const std::vector<int64_t>& shape, int64_t rotary_heads = 0) {
    Weight weight{huggingface_name, gguf_name, shape, {}, rotary_heads};
    const int64_t count = shape.size() == 1 ? shape[0] : shape[0] * shape[1];
    // Norm weights stay near 1, matrices small enough that two layers do not saturate.
    const double mean = shape.size() == 1 ? 1.0 : 0.0;
    for (int64_t i = 0; i < count; ++i) {
      weight.values.push_back(static_cast<float>(mean + 0.15 * random_.normal()));
    }
    weights_.push_back(std::move(weight));
  }

  std::vector<Weight> take() { return std::move(weights_); }

 private:
  Random random_;
  std::vector<Weight> weights_;
};

std::vector<Weight> make_weights(uint64_t seed, int64_t layers) {
  WeightMaker make(seed);
  const int64_t query = Size::kHeads * Size::kHeadWidth;
  const int64_t key = Size::kKvHeads * Size::kHeadWidth;
  make.add("model.embed_tokens.weight", "token_embd.weight",
           {Size::kVocabulary, Size::kModelWidth});
  make.add("model.norm.weight", "output_norm.weight", {Size::kModelWidth});
  for (int64_t layer = 0; layer < layers; ++layer) {
    const std::string theirs = fmt::format("model.layers.{}.", layer);
    const std::string block = fmt::format("blk.{}.", layer);
    const auto add = [&](const std::string& huggingface_name, const std::string& gguf_name,
                         const std::vector<int64_t>& shape, int64_t rotary_heads = 0) {
      make.add(theirs + huggingface_name + ".weight", block + gguf_name + ".weight", shape,
               rotary_heads);
    };
    add("input_layernorm", "attn_norm", {Size::kModelWidth});
    add("self_attn.q_proj", "attn_q", {query, Size::kModelWidth}, Size::kHeads);
    add("self_attn.k_proj", "attn_k", {key, Size::kModelWidth}, Size::kKvHeads);
    add("self_attn.v_proj", "attn_v", {key, Size::kModelWidth});
    add("self_attn.o_proj", "attn_output", {Size::kModelWidth, query});
    add("post_attention_layernorm", "ffn_norm", {Size::kModelWidth});
    add("mlp.gate_proj", "ffn_gate", {Size::kFeedForwardWidth, Size::kModelWidth});
    add("mlp.up_proj", "ffn_up", {Size::kFeedForwardWidth, Size::kModelWidth});
    add("mlp.down_proj", "ffn_down", {Size::kModelWidth, Size::kFeedForwardWidth});
  }
  return make.take();
}

// GGUF's order: row 2i + j of a head is row j * width/2 + i of the Hugging Face matrix, so that the
// two halves of a rotary pair are neighbours.
std::vector<float> permuted_rows(const Weight& weight) {
  if (weight.rotary_heads == 0) {
    return weight.values;
  }
  const int64_t columns = weight.shape[1];
  const int64_t half = Size::kHeadWidth / 2;
  std::vector<float> permuted;
  for (int64_t row = 0; row < weight.shape[0]; ++row) {
    const int64_t head = row / Size::kHeadWidth;
    const int64_t within = row % Size::kHeadWidth;
    const int64_t from = head * Size::kHeadWidth + within % 2 * half + within / 2;
    const auto begin = weight.values.begin() + from * columns;
    permuted.insert(permuted.end(), begin, begin + columns);
  }
  return permuted;
}

// Vocabulary in the byte-level alphabet: "Ġ" is a space, "Ċ" a line feed.
struct Vocabulary {
  std::vector<std::string> pieces = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  std::vector<std::string> merges;
};

Vocabulary make_vocabulary() {
  Vocabulary vocabulary;
  for (char letter = '!'; letter <= '~'; ++letter) {
    vocabulary.pieces.emplace_back(1, letter);
  }
  vocabulary.pieces.insert(vocabulary.pieces.end(), {"Ġ", "Ċ"});
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{
           {"Ġ", "t"}, {"Ġ", "a"},  {"h", "e"},   {"i", "n"}, {"Ġt", "he"}, {"o", "n"},
           {"r", "e"}, {"a", "n"},  {"e", "r"},   {"Ġ", "s"}, {"Ġ", "w"},   {"a", "t"},
           {"o", "r"}, {"Ġ", "o"},  {"e", "n"},   {"i", "s"}, {"i", "t"},   {"n", "d"},
           {"Ġ", "b"}, {"in", "g"}, {"Ġo", "f"},  {"e", "s"}, {"Ġ", "c"},   {"Ġ", "p"},
           {"Ġ", "f"}, {"Ġ", "Ġ"},  {"Ġa", "nd"}, {"a", "r"}, {"ĠĠ", "ĠĠ"}}) {
    vocabulary.merges.push_back(left + " " + right);
    vocabulary.pieces.push_back(left + right);
  }
  return vocabulary;
}

nlohmann::json tokenizer_json(const Vocabulary& vocabulary) {
  nlohmann::json pieces;
  nlohmann::json added = nlohmann::json::array();
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    pieces[vocabulary.pieces[id]] = id;
    if (id < kSpecialTokens) {
      added.push_back({{"id", id},
                       {"content", vocabulary.pieces[id]},
                       {"special", true},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false}});
    }
  }
  const nlohmann::json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const nlohmann::json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  return {{"version", "1.0"},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {digits, bytes}}}},
          {"model", {{"type", "BPE"}, {"vocab", pieces}, {"merges", vocabulary.merges}}}};
}

nlohmann::json config_json() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_act", "silu"},
          {"hidden_size", Size::kModelWidth},
          {"intermediate_size", Size::kFeedForwardWidth},
          {"num_hidden_layers", Size::kLayers},
          {"num_attention_heads", Size::kHeads},
          {"num_key_value_heads", Size::kKvHeads},
          {"head_dim", Size::kHeadWidth},
          {"max_position_embeddings", Size::kContext},
          {"rms_norm_eps", kNormEpsilon},
          {"rope_theta", kRopeBase},
          {"tie_word_embeddings", true},
          {"vocab_size", Size::kVocabulary},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"torch_dtype", "float32"}};
}

}  // namespace

std::string write_tiny_llama_gguf(const std::string& directory, uint64_t seed, int64_t layers) {
  const Vocabulary vocabulary = make_vocabulary();
  std::vector<int32_t> types(vocabulary.pieces.size(), kNormalToken);
  std::fill_n(types.begin(), kSpecialTokens, kControlToken);
  GgufWriter writer;
  writer.add_text("general.architecture", "llama")
      .add_text("general.name", "tiny")
      .add_integer("llama.block_count", static_cast<uint32_t>(layers))
      .add_integer("llama.context_length", Size::kContext)
      .add_integer("llama.embedding_length", Size::kModelWidth)
      .add_integer("llama.feed_forward_length", Size::kFeedForwardWidth)
      .add_integer("llama.attention.head_count", Size::kHeads)
      .add_integer("llama.attention.head_count_kv", Size::kKvHeads)
      .add_integer("llama.rope.dimension_count", Size::kHeadWidth)
      .add_integer("llama.vocab_size", Size::kVocabulary)
      .add_real("llama.rope.freq_base", kRopeBase)
      .add_real("llama.attention.layer_norm_rms_epsilon", kNormEpsilon)
      .add_text("tokenizer.ggml.model", "gpt2")
      .add_text("tokenizer.ggml.pre", "smollm")
      .add_texts("tokenizer.ggml.tokens", vocabulary.pieces)
      .add_integers("tokenizer.ggml.token_type", types)
      .add_texts("tokenizer.ggml.merges", vocabulary.merges)
      .add_integer("tokenizer.ggml.bos_token_id", 1)
      .add_integer("tokenizer.ggml.eos_token_id", 2)
      .add_boolean("tokenizer.ggml.add_bos_token", false);
  for (const Weight& weight : make_weights(seed, layers)) {
    writer.add_tensor(weight.gguf_name, weight.shape, GgufWriter::kF32,
                      bytes_of(permuted_rows(weight)));
  }
  std::string path = directory + "/tiny.gguf";
  write_file(path, writer.bytes());
  return path;
}

std::string write_tiny_llama_huggingface(const std::string& directory, uint64_t seed) {
  std::string path = directory + "/tiny";
  std::filesystem::create_directories(path);
  std::vector<SafetensorsEntry> entries;
  for (const Weight& weight : make_weights(seed, Size::kLayers)) {
    entries.push_back({weight.huggingface_name, "F32", weight.shape, bytes_of(weight.values)});
  }
  write_file(path + "/config.json", config_json().dump(2));
  write_file(path + "/tokenizer.json", tokenizer_json(make_vocabulary()).dump(1));
  write_file(path + "/model.safetensors", safetensors_bytes(entries));
  return path;
}

}  // namespace alluvium::tests
