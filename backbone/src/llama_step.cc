// A few tokens of one sequence through the checkpoint's blocks: LlamaDecoder::step.
#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ops/empty.h>

#include "adapter_stack.h"
#include "alluvium/backbone/parallel.h"
#include "alluvium/core/error.h"
#include "llama_decoder.h"
#include "row_kernels.h"

namespace alluvium::backbone {
namespace {

// Slots of heads and rows that are worth another thread: attending to fewer takes less time than waking it.
constexpr int64_t kSlotsAThread = 8192;

}  // namespace

template <class T>
at::Tensor LlamaDecoder::step(KvCache& cache, std::span<const TokenId> tokens, Logits wanted,
                              const Adapter* adapter) const {
  const auto n = static_cast<int64_t>(tokens.size());
  const auto& kernels = row_kernels();
  const TypedRowKernels<float>& rows = kernels.f32;
  const int64_t d = geometry_.d_model;
  const int64_t head_dim = geometry_.head_dim;
  const int64_t kv_heads = geometry_.kv_heads;
  const int64_t group = geometry_.heads / kv_heads;
  const int64_t qkv_width = (geometry_.heads + 2 * kv_heads) * head_dim;
  const int64_t attended_width = geometry_.heads * head_dim;
  const int64_t most_slots = cache.slots_ + n;
  const auto epsilon = static_cast<float>(geometry_.norm_epsilon);

  std::vector<float> low;
  // y = x W^T of `n` rows, with the adapter's part.
  const auto multiply = [&](const LinearWeight& weight, int64_t layer,
                            Adapter::Stacked Adapter::Layer::*which, const float* in, float* out) {
    const Adapter::Stacked* factors =
        adapter != nullptr ? &(adapter->layers()[layer].*which) : nullptr;
    const bool in_blocks = factors != nullptr && factors->blocks;
    if (n == 1 && in_blocks) {
      weight.blocks->multiply_adapted(in, *factors->blocks, out);
      return;
    }
    if (n == 1) {
      weight.blocks->multiply(in, out);
    } else if (in_blocks) {
      const AdaptedBlocks all{factors->blocks.get(), 0, n};
      weight.blocks->multiply_few(in, n, out, {&all, 1});
    } else {
      weight.blocks->multiply_few(in, n, out);
    }
    for (int64_t r = 0; factors != nullptr && !in_blocks && factors->a.defined() && r < n; ++r) {
      add_adapted_row(*factors, in + r * weight.blocks->cols(), out + r * weight.blocks->rows(),
                      low);
    }
  };

  std::vector<float> x(n * d);
  std::vector<float> normed(n * d);
  std::vector<float> qkv(n * qkv_width);
  std::vector<float> attended(n * attended_width);
  std::vector<float> projected(n * d);
  std::vector<float> gate_up(2 * n * geometry_.d_ff);
  std::vector<float> activated(n * geometry_.d_ff);
  std::vector<float> scores(n * geometry_.heads * most_slots);

  const auto* table = static_cast<const T*>(weights_.embedding.const_data_ptr());
  for (int64_t r = 0; r < n; ++r) {
    kernels.of<T>().widen(table + tokens[r] * d, d, x.data() + r * d);
  }

  auto* all_keys = static_cast<T*>(cache.keys_.mutable_data_ptr());
  auto* all_values = static_cast<T*>(cache.values_.mutable_data_ptr());
  const float* log_bias =
      cache.log_bias_.defined() ? cache.log_bias_.const_data_ptr<float>() : nullptr;
  const bool bias_by_head = log_bias != nullptr && cache.log_bias_.dim() == 3;
  const int64_t head_stride = cache.capacity() * head_dim;

  const int64_t heads_a_thread = 1 + kSlotsAThread / most_slots;
  for (int64_t l = 0; l < geometry_.layers; ++l) {
    const LlamaLayer& layer = weights_.layers[l];
    rows.rms_norm(x.data(), layer.attention_norm.const_data_ptr<float>(), epsilon, n, d,
                  normed.data());
    multiply(layer.qkv, l, &Adapter::Layer::qkv, normed.data(), qkv.data());
    for (int64_t r = 0; r < n; ++r) {
      float* row = qkv.data() + r * qkv_width;
      const float* cos = rope_.cosine_row(cache.next_position_ + r);
      const float* sin = rope_.sine_row(cache.next_position_ + r);
      for (int64_t h = 0; h < geometry_.heads + kv_heads; ++h) {
        rows.rotate(row + h * head_dim, cos, sin, head_dim / 2, row + h * head_dim);
      }
      for (int64_t h = 0; h < kv_heads; ++h) {
        const float* key = row + (geometry_.heads + h) * head_dim;
        const int64_t to = (l * kv_heads + h) * head_stride + (cache.slots_ + r) * head_dim;
        kernels.of<T>().narrow(key, head_dim, all_keys + to);
        kernels.of<T>().narrow(key + kv_heads * head_dim, head_dim, all_values + to);
      }
    }
    at::parallel_for(0, kv_heads * n, heads_a_thread, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const int64_t h = part / n;
        const int64_t r = part % n;
        const int64_t slot = l * kv_heads + h;
        const int64_t first = cache.begins_.empty() ? 0 : cache.begins_[slot];
        AttendArguments attend;
        attend.queries = qkv.data() + r * qkv_width + h * group * head_dim;
        attend.keys = all_keys + slot * head_stride + first * head_dim;
        attend.values = all_values + slot * head_stride + first * head_dim;
        if (log_bias != nullptr) {
          attend.log_bias = log_bias + (bias_by_head ? slot * cache.capacity() : 0) + first;
        }
        attend.scores = scores.data() + part * group * most_slots;
        attend.out = attended.data() + r * attended_width + h * group * head_dim;
        attend.rows = group;
        attend.slots = cache.slots_ + r + 1 - first;
        attend.head_dim = head_dim;
        attend.scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
        attend.context_begin = std::max<int64_t>(cache.context_begin_ - first, 0);
        attend.context_end = std::max<int64_t>(cache.context_end_ - first, 0);
        attend.temperature = static_cast<float>(cache.temperature_);
        attend.lse_scale = static_cast<float>(cache.lse_scale_);
        kernels.of<T>().attend(attend);
      }
    });
    multiply(layer.attention_out, l, &Adapter::Layer::attention_out, attended.data(),
             projected.data());
    rows.add(projected.data(), n * d, x.data());
    rows.rms_norm(x.data(), layer.feed_forward_norm.const_data_ptr<float>(), epsilon, n, d,
                  normed.data());
    multiply(layer.gate_up, l, &Adapter::Layer::gate_up, normed.data(), gate_up.data());
    rows.swiglu(gate_up.data(), n, geometry_.d_ff, activated.data());
    multiply(layer.down, l, &Adapter::Layer::down, activated.data(), projected.data());
    rows.add(projected.data(), n * d, x.data());
  }
  cache.slots_ += n;
  cache.next_position_ += n;
  if (wanted == Logits::none) {
    return {};
  }
  const int64_t scored = wanted == Logits::all ? n : 1;
  rows.rms_norm(x.data() + (n - scored) * d, weights_.final_norm.const_data_ptr<float>(), epsilon,
                scored, d, normed.data());
  at::Tensor logits = at::empty({scored, geometry_.vocabulary}, at::kFloat);
  if (scored == 1) {
    weights_.head.blocks->multiply(normed.data(), logits.mutable_data_ptr<float>());
  } else {
    weights_.head.blocks->multiply_few(normed.data(), scored, logits.mutable_data_ptr<float>());
  }
  return wanted == Logits::all ? logits : logits.squeeze(0);
}

template at::Tensor LlamaDecoder::step<float>(KvCache&, std::span<const TokenId>, Logits,
                                              const Adapter*) const;
template at::Tensor LlamaDecoder::step<Bf16>(KvCache&, std::span<const TokenId>, Logits,
                                             const Adapter*) const;

}  // namespace alluvium::backbone
