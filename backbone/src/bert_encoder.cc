// BERT-family sentence encoder behind the Encoder interface.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/InferenceMode.h>

#include "alluvium/backbone/encoder.h"
#include "alluvium/core/error.h"

namespace alluvium::backbone {
namespace {

struct Affine {
  at::Tensor weight;  // [out, in] compute dtype, or [d] float32 for a norm
  at::Tensor bias;
};

struct BertLayer {
  Affine qkv;
  Affine attention_out;
  Affine attention_norm;
  Affine up;
  Affine down;
  Affine output_norm;
};

// Texts of one length, which attend in one call; rows are [begin, begin + count * length) of the
// packed batch.
struct LengthGroup {
  int64_t begin = 0;
  int64_t count = 0;
  int64_t length = 0;
};

class BertEncoder final : public Encoder {
 public:
  BertEncoder(const Checkpoint& checkpoint, std::shared_ptr<const Tokenizer> tokenizer,
              const DevicePolicy& policy, int64_t max_tokens)
      : tokenizer_(std::move(tokenizer)), policy_(policy), max_tokens_(max_tokens) {
    const std::string type = checkpoint.text("config.model_type");
    if (type != "bert") {
      throw NotSupported(fmt::format("encoder model_type '{}'; supported: bert", type));
    }
    const std::string activation = checkpoint.text("config.hidden_act", "gelu");
    if (activation != "gelu") {
      throw NotSupported(fmt::format("encoder activation '{}'; supported: gelu", activation));
    }
    d_model_ = checkpoint.integer("config.hidden_size");
    heads_ = checkpoint.integer("config.num_attention_heads");
    epsilon_ = checkpoint.real("config.layer_norm_eps", 1e-12);
    const int64_t positions = checkpoint.integer("config.max_position_embeddings");
    if (heads_ <= 0 || d_model_ <= 0 || d_model_ % heads_ != 0) {
      throw DataCorruption(
          fmt::format("checkpoint: hidden_size {} with {} heads", d_model_, heads_));
    }
    ALLUVIUM_CHECK(max_tokens >= 3 && max_tokens <= positions,
                   "max_tokens must lie in [3, {}], got {}", positions, max_tokens);
    load(checkpoint, positions);
    class_token_ = require_token("[CLS]");
    separator_token_ = require_token("[SEP]");
    fingerprint_ = Sha256()
                       .update("alluvium bert encoder 1, mean pooling\n")
                       .update(checkpoint.digest().data(), checkpoint.digest().size())
                       .update(tokenizer_->digest().data(), tokenizer_->digest().size())
                       .update(fmt::format("{} {}", max_tokens, c10::toString(policy.dtype)))
                       .finish();
  }

  int64_t dimension() const override { return d_model_; }
  const Digest& fingerprint() const override { return fingerprint_; }

  at::Tensor embed(std::span<const std::string> texts) const override {
    const c10::InferenceMode no_gradient;
    const auto count = static_cast<int64_t>(texts.size());
    at::Tensor out = at::empty({count, d_model_}, at::kFloat);
    std::vector<std::vector<int64_t>> ids;
    ids.reserve(texts.size());
    for (const std::string& text : texts) {
      ids.push_back(tokenise(text));
    }
    // Sorted by length, so that neighbours share an attention call; cut into batches that stay in
    // the cache.
    std::vector<int64_t> order(texts.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return ids[a].size() < ids[b].size(); });
    for (std::size_t begin = 0; begin < order.size();) {
      std::size_t end = begin;
      std::size_t tokens = 0;
      while (end < order.size() &&
             (end == begin || tokens + ids[order[end]].size() <= kBatchTokens)) {
        tokens += ids[order[end++]].size();
      }
      embed_batch(ids, std::span(order).subspan(begin, end - begin), out);
      begin = end;
    }
    return out;
  }

 private:
  static constexpr std::size_t kBatchTokens = 2048;

  TokenId require_token(const char* piece) const {
    const auto token = tokenizer_->find_token(piece);
    ALLUVIUM_CHECK(token.has_value(), "the encoder's tokenizer has no {} token", piece);
    return *token;
  }

  void load(const Checkpoint& checkpoint, int64_t positions) {
    const bool prefixed =
        checkpoint.find_tensor("bert.embeddings.word_embeddings.weight") != nullptr;
    const std::string root = prefixed ? "bert." : "";
    const auto tensor = [&](const std::string& name, const std::vector<int64_t>& shape) {
      return dequantise(checkpoint.require_tensor(root + name, shape)).to(policy_.device);
    };
    const auto norm = [&](const std::string& name) {
      return Affine{tensor(name + ".weight", {d_model_}), tensor(name + ".bias", {d_model_})};
    };
    const auto dense = [&](const std::string& name, int64_t out, int64_t in) {
      return Affine{tensor(name + ".weight", {out, in}).to(policy_.dtype),
                    tensor(name + ".bias", {out}).to(policy_.dtype)};
    };
    const int64_t vocabulary = checkpoint.integer("config.vocab_size");
    const int64_t types = checkpoint.integer("config.type_vocab_size", 2);
    const int64_t d_ff = checkpoint.integer("config.intermediate_size");
    words_ = tensor("embeddings.word_embeddings.weight", {vocabulary, d_model_});
    // Every token has type 0, so its row joins the positions once.
    positions_ = tensor("embeddings.position_embeddings.weight", {positions, d_model_}) +
                 tensor("embeddings.token_type_embeddings.weight", {types, d_model_})[0];
    embedding_norm_ = norm("embeddings.LayerNorm");
    for (int64_t i = 0; i < checkpoint.integer("config.num_hidden_layers"); ++i) {
      const std::string name = fmt::format("encoder.layer.{}.", i);
      const Affine q = dense(name + "attention.self.query", d_model_, d_model_);
      const Affine k = dense(name + "attention.self.key", d_model_, d_model_);
      const Affine v = dense(name + "attention.self.value", d_model_, d_model_);
      BertLayer layer;
      layer.qkv = {at::cat({q.weight, k.weight, v.weight}), at::cat({q.bias, k.bias, v.bias})};
      layer.attention_out = dense(name + "attention.output.dense", d_model_, d_model_);
      layer.attention_norm = norm(name + "attention.output.LayerNorm");
      layer.up = dense(name + "intermediate.dense", d_ff, d_model_);
      layer.down = dense(name + "output.dense", d_model_, d_ff);
      layer.output_norm = norm(name + "output.LayerNorm");
      layers_.push_back(std::move(layer));
    }
  }

  std::vector<int64_t> tokenise(const std::string& text) const {
    std::vector<TokenId> pieces = tokenizer_->encode(text);
    pieces.resize(std::min(pieces.size(), static_cast<std::size_t>(max_tokens_ - 2)));
    std::vector<int64_t> ids = {class_token_};
    ids.insert(ids.end(), pieces.begin(), pieces.end());
    ids.push_back(separator_token_);
    return ids;
  }

  void embed_batch(const std::vector<std::vector<int64_t>>& ids, std::span<const int64_t> texts,
                   const at::Tensor& out) const {
    std::vector<int64_t> tokens;
    std::vector<int64_t> positions;
    std::vector<LengthGroup> groups;
    for (const int64_t text : texts) {
      const auto length = static_cast<int64_t>(ids[text].size());
      if (groups.empty() || groups.back().length != length) {
        groups.push_back({static_cast<int64_t>(tokens.size()), 0, length});
      }
      ++groups.back().count;
      tokens.insert(tokens.end(), ids[text].begin(), ids[text].end());
      for (int64_t t = 0; t < length; ++t) {
        positions.push_back(t);
      }
    }
    const at::Tensor hidden = forward(tokens, positions, groups);
    std::size_t next = 0;
    for (const LengthGroup& group : groups) {
      at::Tensor mean = hidden.narrow(0, group.begin, group.count * group.length)
                            .view({group.count, group.length, d_model_})
                            .mean(1);
      mean = (mean / mean.norm(2, {1}, true).clamp_min(1e-12)).cpu();
      for (int64_t i = 0; i < group.count; ++i) {
        out[texts[next++]].copy_(mean[i]);
      }
    }
  }

  at::Tensor forward(std::vector<int64_t>& tokens, std::vector<int64_t>& positions,
                     const std::vector<LengthGroup>& groups) const {
    const auto rows = static_cast<int64_t>(tokens.size());
    const auto on_device = [&](std::vector<int64_t>& index) {
      return at::from_blob(index.data(), {rows}, at::kLong).to(policy_.device);
    };
    at::Tensor x = normalise(words_.index_select(0, on_device(tokens)) +
                                 positions_.index_select(0, on_device(positions)),
                             embedding_norm_);
    for (const BertLayer& layer : layers_) {
      const at::Tensor qkv = apply(x, layer.qkv);
      at::Tensor attended = at::empty({rows, d_model_}, qkv.options());
      for (const LengthGroup& group : groups) {
        const int64_t size = group.count * group.length;
        attended.narrow(0, group.begin, size)
            .copy_(attend(qkv.narrow(0, group.begin, size), group));
      }
      x = normalise(x + apply(attended, layer.attention_out), layer.attention_norm);
      x = normalise(x + apply(at::gelu(apply(x, layer.up)), layer.down), layer.output_norm);
    }
    return x;
  }

  // qkv: [count * length, 3 d_model] -> [count * length, d_model].
  at::Tensor attend(const at::Tensor& qkv, const LengthGroup& group) const {
    const at::Tensor split = qkv.view({group.count, group.length, 3, heads_, d_model_ / heads_})
                                 .permute({2, 0, 3, 1, 4});
    return at::scaled_dot_product_attention(split[0], split[1], split[2])
        .transpose(1, 2)
        .reshape({group.count * group.length, d_model_});
  }

  // The residual stream stays float32; only what enters a matrix product is rounded.
  at::Tensor apply(const at::Tensor& x, const Affine& dense) const {
    return at::linear(x.to(policy_.dtype), dense.weight, dense.bias);
  }

  at::Tensor normalise(const at::Tensor& x, const Affine& norm) const {
    return at::layer_norm(x.to(at::kFloat), {d_model_}, norm.weight, norm.bias, epsilon_);
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  DevicePolicy policy_;
  int64_t max_tokens_;
  int64_t d_model_ = 0;
  int64_t heads_ = 0;
  double epsilon_ = 0;
  at::Tensor words_;
  at::Tensor positions_;
  Affine embedding_norm_;
  std::vector<BertLayer> layers_;
  int64_t class_token_ = 0;
  int64_t separator_token_ = 0;
  Digest fingerprint_{};
};

}  // namespace

std::unique_ptr<Encoder> load_encoder(const Checkpoint& checkpoint,
                                      std::shared_ptr<const Tokenizer> tokenizer,
                                      const DevicePolicy& policy, int64_t max_tokens) {
  return std::make_unique<BertEncoder>(checkpoint, std::move(tokenizer), policy, max_tokens);
}

}  // namespace alluvium::backbone
