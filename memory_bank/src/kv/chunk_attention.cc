#include "kv/chunk_attention.h"

#include <cmath>
#include <limits>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

namespace alluvium::memory_bank {

backbone::Rope rope_of(const backbone::Decoder& decoder) {
  return {decoder.geometry().head_dim, decoder.geometry().rope_base,
          decoder.geometry().max_positions, decoder.policy().device};
}

at::Tensor chunk_keys(const ObservedChunk& chunk, const SharedPrefix& prefix,
                      const backbone::Rope& rope, int64_t layer) {
  const auto first = static_cast<int64_t>(prefix.tokens.size());
  const at::Tensor keys = chunk.read->keys[layer];
  const at::Tensor positions = at::arange(
      first, first + keys.size(1), at::TensorOptions().dtype(at::kLong).device(keys.device()));
  return rope.rotate(keys.to(at::kFloat), positions);
}

at::Tensor chunk_attention(const ObservedChunk& chunk, const SharedPrefix& prefix,
                           const backbone::Rope& rope, int64_t layer, int64_t queries) {
  const at::Tensor keys = chunk.read->keys[layer];
  const int64_t n = keys.size(1);
  return chunk_attention(
      chunk, prefix, rope, layer,
      at::arange(n - queries, n, at::TensorOptions().dtype(at::kLong).device(keys.device())));
}

at::Tensor chunk_attention(const ObservedChunk& chunk, const SharedPrefix& prefix,
                           const backbone::Rope& rope, int64_t layer, const at::Tensor& rows) {
  const at::Tensor keys = chunk_keys(chunk, prefix, rope, layer);
  const int64_t kv_heads = keys.size(0);
  const int64_t n = keys.size(1);
  const int64_t head_dim = keys.size(2);
  const int64_t queries = rows.size(0);
  const auto first = static_cast<int64_t>(prefix.tokens.size());
  const at::Tensor all = chunk.read->queries[layer];  // [heads, n, head_dim]
  const int64_t group = all.size(0) / kv_heads;
  const auto index = at::TensorOptions().dtype(at::kLong).device(keys.device());
  const at::Tensor q = rope.rotate(at::index_select(all, 1, rows).to(at::kFloat), rows + first)
                           .reshape({kv_heads, group * queries, head_dim});
  const at::Tensor before = prefix.segment.keys[layer].to(keys.device(), at::kFloat);
  const at::Tensor logits = at::matmul(q, at::cat({before, keys}, 1).transpose(1, 2)) /
                            std::sqrt(static_cast<double>(head_dim));
  const at::Tensor hidden =
      at::arange(n, index).unsqueeze(0).gt(rows.unsqueeze(1)).repeat({group, 1});
  logits.narrow(2, first, n).masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  return at::softmax(logits, 2).narrow(2, first, n).reshape({kv_heads, group, queries, n});
}

}  // namespace alluvium::memory_bank
