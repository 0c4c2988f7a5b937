// One token through the checkpoint's blocks: LlamaDecoder::step.
#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "adapter_stack.h"
#include "alluvium/core/error.h"
#include "llama_decoder.h"
#include "row_kernels.h"

namespace alluvium::backbone {
template <class T>
at::Tensor LlamaDecoder::step(KvCache& cache, TokenId token, Logits wanted,
                              const Adapter* adapter) const {
  std::vector<float> low;
  const auto multiply = [&](const LinearWeight& weight, int64_t layer,
                            Adapter::Stacked Adapter::Layer::*which, const float* in, float* out) {
    const Adapter::Stacked* factors =
        adapter != nullptr ? &(adapter->layers()[layer].*which) : nullptr;
    if (factors != nullptr && factors->blocks) {
      weight.blocks->multiply_adapted(in, *factors->blocks, out);
      return;
    }
    weight.blocks->multiply(in, out);
    if (factors != nullptr && factors->a.defined()) {
      add_adapted_row(*factors, in, out, low);
    }
  };
  const auto& kernels = row_kernels();
  const TypedRowKernels<float>& rows = kernels.f32;
  const int64_t d = geometry_.d_model;
  const int64_t head_dim = geometry_.head_dim;
  const int64_t group = geometry_.heads / geometry_.kv_heads;
  const int64_t slots = cache.slots_ + 1;
  const auto epsilon = static_cast<float>(geometry_.norm_epsilon);
  const float* cos = rope_.cosine_row(cache.next_position_);
  const float* sin = rope_.sine_row(cache.next_position_);

  std::vector<float> x(d);
  std::vector<float> normed(d);
  std::vector<float> qkv((geometry_.heads + 2 * geometry_.kv_heads) * head_dim);
  std::vector<float> attended(geometry_.heads * head_dim);
  std::vector<float> projected(d);
  std::vector<float> gate_up(2 * geometry_.d_ff);
  std::vector<float> activated(geometry_.d_ff);
  std::vector<float> scores(geometry_.heads * slots);

  const auto* table = static_cast<const T*>(weights_.embedding.const_data_ptr());
  kernels.of<T>().widen(table + token * d, d, x.data());

  auto* all_keys = static_cast<T*>(cache.keys_.mutable_data_ptr());
  auto* all_values = static_cast<T*>(cache.values_.mutable_data_ptr());
  const float* log_bias =
      cache.log_bias_.defined() ? cache.log_bias_.const_data_ptr<float>() : nullptr;
  const bool bias_by_head = log_bias != nullptr && cache.log_bias_.dim() == 3;
  const int64_t head_stride = cache.capacity() * head_dim;

  for (int64_t l = 0; l < geometry_.layers; ++l) {
    const LlamaLayer& layer = weights_.layers[l];
    rows.rms_norm(x.data(), layer.attention_norm.const_data_ptr<float>(), epsilon, 1, d,
                  normed.data());
    multiply(layer.qkv, l, &Adapter::Layer::qkv, normed.data(), qkv.data());
    for (int64_t h = 0; h < geometry_.heads + geometry_.kv_heads; ++h) {
      rows.rotate(qkv.data() + h * head_dim, cos, sin, head_dim / 2, qkv.data() + h * head_dim);
    }
    at::parallel_for(0, geometry_.kv_heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t h = begin; h < end; ++h) {
        T* keys = all_keys + (l * geometry_.kv_heads + h) * head_stride;
        T* values = all_values + (l * geometry_.kv_heads + h) * head_stride;
        const float* new_key = qkv.data() + (geometry_.heads + h) * head_dim;
        const float* new_value = new_key + geometry_.kv_heads * head_dim;
        kernels.of<T>().narrow(new_key, head_dim, keys + cache.slots_ * head_dim);
        kernels.of<T>().narrow(new_value, head_dim, values + cache.slots_ * head_dim);
        const int64_t slot = l * geometry_.kv_heads + h;
        const int64_t first = cache.begins_.empty() ? 0 : cache.begins_[slot];
        AttendArguments attend;
        attend.queries = qkv.data() + h * group * head_dim;
        attend.keys = keys + first * head_dim;
        attend.values = values + first * head_dim;
        if (log_bias != nullptr) {
          attend.log_bias = log_bias + (bias_by_head ? slot * cache.capacity() : 0) + first;
        }
        attend.scores = scores.data() + h * group * slots;
        attend.out = attended.data() + h * group * head_dim;
        attend.rows = group;
        attend.slots = slots - first;
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
    rows.add(projected.data(), d, x.data());
    rows.rms_norm(x.data(), layer.feed_forward_norm.const_data_ptr<float>(), epsilon, 1, d,
                  normed.data());
    multiply(layer.gate_up, l, &Adapter::Layer::gate_up, normed.data(), gate_up.data());
    rows.swiglu(gate_up.data(), 1, geometry_.d_ff, activated.data());
    multiply(layer.down, l, &Adapter::Layer::down, activated.data(), projected.data());
    rows.add(projected.data(), d, x.data());
  }
  ++cache.slots_;
  ++cache.next_position_;
  if (wanted == Logits::none) {
    return {};
  }
  rows.rms_norm(x.data(), weights_.final_norm.const_data_ptr<float>(), epsilon, 1, d,
                normed.data());
  at::Tensor logits = at::empty({geometry_.vocabulary}, at::kFloat);
  weights_.head.blocks->multiply(normed.data(), logits.mutable_data_ptr<float>());
  return logits;
}

template at::Tensor LlamaDecoder::step<float>(KvCache&, TokenId, Logits, const Adapter*) const;
template at::Tensor LlamaDecoder::step<Bf16>(KvCache&, TokenId, Logits, const Adapter*) const;

}  // namespace alluvium::backbone
