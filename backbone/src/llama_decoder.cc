#include "llama_decoder.h"

#include <algorithm>
#include <cstring>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <c10/core/InferenceMode.h>

#include "adapted_linear.h"
#include "adapter_stack.h"
#include "alluvium/core/error.h"
#include "cache_plan.h"
#include "row_kernels.h"
#include "row_ops.h"

namespace alluvium::backbone {
namespace {

// Rows of one sequence that step() takes at once (docs/performance.md, "Answers").
constexpr int64_t kCheapRows = 8;

Digest make_model(const Checkpoint& checkpoint, const DecoderGeometry& geometry) {
  return Sha256()
      .update("alluvium llama model 1\n")
      .update(checkpoint.digest().data(), checkpoint.digest().size())
      .update(fmt::format("{} {} {} {} {} {} {} {:.17g} {:.17g}", geometry.layers, geometry.d_model,
                          geometry.heads, geometry.kv_heads, geometry.head_dim, geometry.d_ff,
                          geometry.vocabulary, geometry.rope_base, geometry.norm_epsilon))
      .finish();
}

Digest make_fingerprint(const Checkpoint& checkpoint, const DecoderGeometry& geometry,
                        at::ScalarType dtype) {
  return Sha256()
      .update("alluvium llama decoder 1\n")
      .update(checkpoint.digest().data(), checkpoint.digest().size())
      .update(fmt::format("{} {} {} {} {} {} {} {:.17g} {:.17g} {}", geometry.layers,
                          geometry.d_model, geometry.heads, geometry.kv_heads, geometry.head_dim,
                          geometry.d_ff, geometry.vocabulary, geometry.rope_base,
                          geometry.norm_epsilon, c10::toString(dtype)))
      .finish();
}

std::vector<AdaptedRows> adapted_rows(std::span<const ReadRequest> requests) {
  std::vector<AdaptedRows> runs;
  int64_t begin = 0;
  for (const ReadRequest& request : requests) {
    const auto rows = static_cast<int64_t>(request.tokens.size());
    if (request.adapter != nullptr) {
      if (!runs.empty() && runs.back().adapter == request.adapter &&
          runs.back().begin + runs.back().rows == begin) {
        runs.back().rows += rows;
      } else {
        runs.push_back({request.adapter, begin, rows});
      }
    }
    begin += rows;
  }
  return runs;
}

}  // namespace

LlamaDecoder::LlamaDecoder(const Checkpoint& checkpoint, const DevicePolicy& policy)
    : policy_(policy),
      geometry_(read_llama_geometry(checkpoint)),
      rope_(geometry_.head_dim, geometry_.rope_base, geometry_.max_positions, policy.device),
      weights_(load_llama_weights(checkpoint, geometry_, policy)),
      has_blocks_(weights_.has_blocks()),
      steps_few_(has_blocks_ && policy.dtype == at::kBFloat16 && BlockMatrix::multiplies_few()),
      model_(make_model(checkpoint, geometry_)),
      fingerprint_(make_fingerprint(checkpoint, geometry_, policy.dtype)) {}

KvCache LlamaDecoder::start(const KvPrefix& prefix, int64_t room) const {
  const c10::InferenceMode no_gradient;
  ALLUVIUM_CHECK(room >= 0, "room must not be negative, got {}", room);
  ALLUVIUM_CHECK(
      prefix.next_position >= 0 && prefix.next_position + room <= geometry_.max_positions,
      "prefix up to position {} and {} more tokens exceed the model's {} positions",
      prefix.next_position, room, geometry_.max_positions);
  const CachePlan plan(prefix, geometry_);
  KvCache cache(geometry_, plan.slots() + room, policy_.dtype, policy_.device);
  cache.next_position_ = prefix.next_position;
  cache.temperature_ = prefix.temperature;
  cache.lse_scale_ = prefix.lse_scale;
  cache.slots_ = plan.slots();
  cache.begins_ = plan.begins();
  cache.context_begin_ = plan.context_begin();
  cache.context_end_ = plan.context_end();
  cache.log_bias_ = plan.make_log_bias(cache.capacity(), policy_.device);
  plan.fill_(rope_, cache.keys_, cache.values_, cache.log_bias_);
  return cache;
}

int64_t LlamaDecoder::cheap_rows() const { return has_blocks_ && !steps_few_ ? 1 : kCheapRows; }

void LlamaDecoder::check_tokens(std::span<const TokenId> tokens) const {
  for (const TokenId token : tokens) {
    ALLUVIUM_CHECK(token >= 0 && token < geometry_.vocabulary,
                   "token {} lies outside the vocabulary of {}", token, geometry_.vocabulary);
  }
}

void LlamaDecoder::validate(std::span<const ReadRequest> requests) const {
  for (const ReadRequest& request : requests) {
    ALLUVIUM_CHECK(request.cache != nullptr, "a read needs a cache");
    ALLUVIUM_CHECK(!request.tokens.empty(), "a read needs at least one token");
    const auto n = static_cast<int64_t>(request.tokens.size());
    const KvCache& cache = *request.cache;
    ALLUVIUM_CHECK(cache.slots_ + n <= cache.capacity(),
                   "{} tokens do not fit a cache with {} of {} slots taken", n, cache.slots_,
                   cache.capacity());
    ALLUVIUM_CHECK(cache.next_position_ + n <= geometry_.max_positions,
                   "{} tokens at position {} exceed the model's {} positions", n,
                   cache.next_position_, geometry_.max_positions);
    check_tokens(request.tokens);
    if (request.observes()) {
      ALLUVIUM_CHECK(request.observed_begin >= 0 && request.observed_end <= cache.slots_ &&
                         cache.begins_.empty() &&
                         !(cache.log_bias_.defined() && cache.log_bias_.dim() == 3) &&
                         cache.attends_plainly(),
                     "slots {} to {} of a cache of {} cannot be observed", request.observed_begin,
                     request.observed_end, cache.slots_);
    }
  }
}

std::vector<ReadResult> LlamaDecoder::read(std::span<const ReadRequest> requests) const {
  if (requests.empty()) {
    return {};
  }
  const c10::InferenceMode no_gradient;
  validate(requests);
  const ReadRequest& first = requests.front();
  const auto most = static_cast<std::size_t>(!has_blocks_ ? 0 : steps_few_ ? kCheapRows : 1);
  if (requests.size() > 1 || first.tokens.size() > most || first.capture || first.hidden ||
      first.queries || first.observes()) {
    return read_packed(requests);
  }
  ReadResult result;
  result.logits = policy_.dtype == at::kBFloat16
                      ? step<Bf16>(*first.cache, first.tokens, first.logits, first.adapter)
                      : step<float>(*first.cache, first.tokens, first.logits, first.adapter);
  return {std::move(result)};
}

at::Tensor LlamaDecoder::embed(std::span<const ReadRequest> requests) const {
  std::vector<int64_t> ids;
  for (const ReadRequest& request : requests) {
    ids.insert(ids.end(), request.tokens.begin(), request.tokens.end());
  }
  const at::Tensor index =
      at::from_blob(ids.data(), {static_cast<int64_t>(ids.size())}, at::kLong).to(policy_.device);
  return weights_.embedding.index_select(0, index).to(residual_dtype());
}

std::vector<LlamaDecoder::Slice> LlamaDecoder::slice(std::span<const ReadRequest> requests) const {
  const auto mask_options = at::TensorOptions(policy_.dtype).device(policy_.device);
  std::vector<Slice> slices;
  int64_t begin = 0;
  for (const ReadRequest& request : requests) {
    const KvCache& cache = *request.cache;
    Slice slice;
    slice.begin = begin;
    slice.rows = static_cast<int64_t>(request.tokens.size());
    slice.first_position = cache.next_position_;
    slice.view.slots_before = cache.slots_;
    slice.view.log_bias = cache.log_bias_;
    slice.view.begins = cache.begins_;
    slice.view.context_begin = cache.context_begin_;
    slice.view.context_end = cache.context_end_;
    slice.view.temperature = cache.temperature_;
    slice.view.lse_scale = cache.lse_scale_;
    slice.view.mask =
        make_mask(slice.view, slice.rows, geometry_.heads / geometry_.kv_heads, mask_options);
    begin += slice.rows;
    slices.push_back(std::move(slice));
  }
  return slices;
}

at::Tensor LlamaDecoder::rows_of(const at::Tensor& qkv, const Slice& slice) const {
  return qkv.narrow(0, slice.begin, slice.rows)
      .view({slice.rows, geometry_.heads + 2 * geometry_.kv_heads, geometry_.head_dim});
}

void LlamaDecoder::store_rows(int64_t layer, const at::Tensor& qkv, const Slice& slice,
                              const KvCache& cache) const {
  const at::Tensor rows = rows_of(qkv, slice);
  const auto here = [&](const at::Tensor& slots) {
    return slots[layer].narrow(1, slice.view.slots_before, slice.rows);
  };
  rotate_into_(here(cache.keys_), rows.narrow(1, geometry_.heads, geometry_.kv_heads), rope_,
               slice.first_position, HeadOrder::heads_first);
  here(cache.values_)
      .copy_(
          rows.narrow(1, geometry_.heads + geometry_.kv_heads, geometry_.kv_heads).transpose(0, 1));
}

at::Tensor LlamaDecoder::attend_sequence(int64_t layer, const at::Tensor& qkv, const Slice& slice,
                                         const ReadRequest& request, ReadResult& result) const {
  const int64_t heads = geometry_.heads;
  const int64_t kv_heads = geometry_.kv_heads;
  const int64_t head_dim = geometry_.head_dim;
  const KvCache& cache = *request.cache;
  const at::Tensor rows = rows_of(qkv, slice);
  if (request.capture) {
    result.keys[layer].copy_(rows.narrow(1, heads, kv_heads).transpose(0, 1));
    result.values[layer].copy_(rows.narrow(1, heads + kv_heads, kv_heads).transpose(0, 1));
  }
  if (request.queries) {
    result.queries[layer].copy_(rows.narrow(1, 0, heads).transpose(0, 1));
  }
  store_rows(layer, qkv, slice, cache);
  const int64_t slots = slice.view.slots_before + slice.rows;
  const at::Tensor keys = cache.keys_[layer].narrow(1, 0, slots);
  const at::Tensor values = cache.values_[layer].narrow(1, 0, slots);

  at::Tensor queries = at::empty({slice.rows, heads, head_dim}, rows.options());
  rotate_into_(queries, rows.narrow(1, 0, heads), rope_, slice.first_position,
               HeadOrder::rows_first);
  if (request.observes()) {
    ObservedSlots observed{request.observed_begin, request.observed_end,
                           result.attention_maximum[layer]};
    return attend(queries, keys, values, slice.view, &observed);
  }
  if (!slice.view.differs_by_head()) {
    return attend(queries, keys, values, slice.view);
  }
  const int64_t group = heads / kv_heads;
  std::vector<at::Tensor> attended;
  for (int64_t h = 0; h < kv_heads; ++h) {
    const AttentionView view = head_view(slice.view, layer, h, kv_heads);
    const auto seen = [&](const at::Tensor& tensor) {
      return tensor.narrow(0, h, 1).narrow(1, view.first_slot, slots - view.first_slot);
    };
    attended.push_back(attend(queries.narrow(1, h * group, group), seen(keys), seen(values), view));
  }
  return at::cat(attended, 1);
}

at::Tensor LlamaDecoder::project(int64_t layer, const at::Tensor& x,
                                 const std::vector<AdaptedRows>& adapted) const {
  const LlamaLayer& weights = weights_.layers[layer];
  return adapted_linear(rms_norm(x, weights.attention_norm, geometry_.norm_epsilon, policy_.dtype),
                        weights.qkv, adapted, layer, &Adapter::Layer::qkv);
}

void LlamaDecoder::finish_layer_(int64_t layer, const at::Tensor& x, const at::Tensor& attended,
                                 const std::vector<AdaptedRows>& adapted) const {
  const LlamaLayer& weights = weights_.layers[layer];
  add_(x, adapted_linear(attended, weights.attention_out, adapted, layer,
                         &Adapter::Layer::attention_out));
  const at::Tensor gate_up =
      adapted_linear(rms_norm(x, weights.feed_forward_norm, geometry_.norm_epsilon, policy_.dtype),
                     weights.gate_up, adapted, layer, &Adapter::Layer::gate_up);
  add_(x, adapted_linear(swiglu(gate_up), weights.down, adapted, layer, &Adapter::Layer::down));
}

std::vector<ReadResult> LlamaDecoder::read_packed(std::span<const ReadRequest> requests) const {
  const std::vector<Slice> slices = slice(requests);
  std::vector<ReadResult> results(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].capture) {
      results[i].keys =
          at::empty({geometry_.layers, geometry_.kv_heads, slices[i].rows, geometry_.head_dim},
                    at::TensorOptions(policy_.dtype).device(policy_.device));
      results[i].values = at::empty_like(results[i].keys);
    }
    if (requests[i].queries) {
      results[i].queries =
          at::empty({geometry_.layers, geometry_.heads, slices[i].rows, geometry_.head_dim},
                    at::TensorOptions(policy_.dtype).device(policy_.device));
    }
    if (requests[i].observes()) {
      results[i].attention_maximum =
          at::empty({geometry_.layers, geometry_.kv_heads,
                     requests[i].observed_end - requests[i].observed_begin},
                    at::TensorOptions(at::kFloat).device(policy_.device));
    }
  }

  const std::vector<AdaptedRows> adapted = adapted_rows(requests);
  const bool wants_output = std::any_of(
      requests.begin(), requests.end(),
      [](const ReadRequest& request) { return request.logits != Logits::none || request.hidden; });
  at::Tensor x = embed(requests);  // [T, d_model] float32: the residual stream is never rounded
  at::Tensor attended = at::empty({x.size(0), geometry_.heads * geometry_.head_dim},
                                  x.options().dtype(policy_.dtype));
  for (int64_t l = 0; l < geometry_.layers; ++l) {
    const at::Tensor qkv = project(l, x, adapted);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      attended.narrow(0, slices[i].begin, slices[i].rows)
          .copy_(attend_sequence(l, qkv, slices[i], requests[i], results[i]));
    }
    if (l == geometry_.layers - 1 && !wants_output) {
      break;  // the last layer's keys, values and weights were all that was asked for
    }
    finish_layer_(l, x, attended, adapted);
  }

  for (std::size_t i = 0; i < requests.size(); ++i) {
    KvCache& cache = *requests[i].cache;
    cache.slots_ += slices[i].rows;
    cache.next_position_ += slices[i].rows;
    const bool last_only = requests[i].logits != Logits::all && !requests[i].hidden;
    if (requests[i].logits == Logits::none && !requests[i].hidden) {
      continue;
    }
    const int64_t rows = last_only ? 1 : slices[i].rows;
    const at::Tensor hidden =
        rms_norm(x.narrow(0, slices[i].begin + slices[i].rows - rows, rows), weights_.final_norm,
                 geometry_.norm_epsilon, residual_dtype());
    if (requests[i].hidden) {
      results[i].hidden = hidden;
    }
    if (requests[i].logits == Logits::all) {
      results[i].logits = logits(hidden);
    } else if (requests[i].logits == Logits::last) {
      results[i].logits = logits(hidden.narrow(0, rows - 1, 1)).squeeze(0);
    }
  }
  return results;
}

at::Tensor LlamaDecoder::logits(const at::Tensor& hidden) const {
  // In bf16 a logit near 16 moves in steps of 1/8: a GPU widens the head, the blocks give float32.
  if (!weights_.head.blocks) {
    const at::ScalarType type = policy_.device.is_cpu() ? policy_.dtype : at::kFloat;
    return at::linear(hidden.to(type), weights_.head.dense.to(type)).to(at::kFloat);
  }
  const at::Tensor rows = hidden.contiguous();
  at::Tensor out = at::empty({rows.size(0), geometry_.vocabulary}, rows.options());
  const auto* from = rows.const_data_ptr<float>();
  auto* to = out.mutable_data_ptr<float>();
  if (rows.size(0) > 1 && policy_.dtype == at::kBFloat16 && BlockMatrix::multiplies_few()) {
    weights_.head.blocks->multiply_few(from, rows.size(0), to);
  } else {
    weights_.head.blocks->multiply_rows(from, rows.size(0), to);
  }
  return out;
}

std::shared_ptr<const Adapter> LlamaDecoder::prepare(const AdapterState& state) const {
  const c10::InferenceMode no_gradient;
  ALLUVIUM_CHECK(state.model == model_, "the adapter belongs to model {}, the decoder is model {}",
                 to_hex(state.model), to_hex(model_));
  check_adapter(state, geometry_);
  const auto stack = [&](const LayerFactors& layer, std::initializer_list<Projection> parts) {
    // The scale is folded in while the factors are still in the width they were trained in.
    const StackedFactors wide =
        stack_factors(layer, parts, geometry_, at::TensorOptions(at::kFloat).device(at::kCPU));
    Adapter::Stacked stacked;
    if (!wide.defined()) {
      return stacked;
    }
    const auto options = at::TensorOptions(policy_.dtype).device(policy_.device);
    const at::Tensor scaled = wide.b.mul(state.scale);
    stacked.a = wide.a.to(options);
    stacked.b = scaled.to(options);
    int64_t begin = 0;
    for (const Projection part : parts) {
      const int64_t rows = shape_of(geometry_, part).out;
      const int64_t rank = layer[part].defined() ? layer[part].a.size(0) : 0;
      stacked.spans.insert(stacked.spans.end(), rank, {begin, begin + rows});
      begin += rows;
    }
    if (policy_.dtype == at::kBFloat16 && policy_.device.is_cpu() &&
        LowRankBlocks::supports(wide.a.size(1))) {
      stacked.blocks = std::make_shared<LowRankBlocks>(wide.a, scaled, stacked.spans);
    } else {
      stacked.b_transposed = stacked.b.t().contiguous();
    }
    return stacked;
  };
  auto adapter = std::make_shared<Adapter>();
  for (const LayerFactors& layer : state.layers) {
    adapter->layers_.push_back({.qkv = stack(layer, {Projection::q, Projection::k, Projection::v}),
                                .attention_out = stack(layer, {Projection::o}),
                                .gate_up = stack(layer, {Projection::gate, Projection::up}),
                                .down = stack(layer, {Projection::down})});
  }
  return adapter;
}

Digest LlamaDecoder::hash_weights() const {
  Sha256 hash;
  const auto add_tensor = [&](const at::Tensor& tensor) {
    const at::Tensor host = tensor.cpu().contiguous();
    hash.update(host.const_data_ptr(), host.nbytes());
  };
  const auto add_linear = [&](const LinearWeight& weight) {
    add_tensor(weight.dense);
    if (weight.blocks) {
      hash.update(weight.blocks->data(), weight.blocks->bytes());
    }
  };
  add_tensor(weights_.embedding);
  add_tensor(weights_.final_norm);
  add_linear(weights_.head);
  for (const LlamaLayer& layer : weights_.layers) {
    add_tensor(layer.attention_norm);
    add_tensor(layer.feed_forward_norm);
    add_linear(layer.qkv);
    add_linear(layer.attention_out);
    add_linear(layer.gate_up);
    add_linear(layer.down);
  }
  return hash.finish();
}

std::unique_ptr<Decoder> load_decoder(const Checkpoint& checkpoint, const DevicePolicy& policy) {
  return std::make_unique<LlamaDecoder>(checkpoint, policy);
}

}  // namespace alluvium::backbone
