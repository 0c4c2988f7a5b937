// Rows of documents read apart, made anew where they miss most: LlamaDecoder::repair.
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "llama_decoder.h"
#include "row_ops.h"
#include "value_deviation.h"

namespace alluvium::backbone {
namespace {

// The first layer whose values depend on what stands before a token.
constexpr int64_t kCheckLayer = 1;

}  // namespace

at::Tensor LlamaDecoder::attend_scattered(int64_t layer, const at::Tensor& qkv,
                                          const at::Tensor& positions, const AttentionView& view,
                                          const KvCache& cache) const {
  const int64_t heads = geometry_.heads;
  const int64_t kv_heads = geometry_.kv_heads;
  const int64_t head_dim = geometry_.head_dim;
  const at::Tensor rows = qkv.view({qkv.size(0), heads + 2 * kv_heads, head_dim}).transpose(0, 1);
  const at::Tensor rotated = at::empty({heads + kv_heads, qkv.size(0), head_dim}, qkv.options());
  rotate_keys_into_(rotated, rows.narrow(0, 0, heads + kv_heads), rope_, positions);
  const int64_t slots = view.mask.size(1);
  const at::Tensor keys = cache.keys_[layer].narrow(1, 0, slots);
  const at::Tensor values = cache.values_[layer].narrow(1, 0, slots);
  const at::Tensor here = positions.to(policy_.device);
  keys.index_copy_(1, here, rotated.narrow(0, heads, kv_heads));
  values.index_copy_(1, here, rows.narrow(0, heads + kv_heads, kv_heads));
  return attend(rotated.narrow(0, 0, heads).transpose(0, 1), keys, values, view);
}

void LlamaDecoder::check_repair(const RepairRequest& request) const {
  ALLUVIUM_CHECK(request.cache != nullptr, "a repair needs a cache");
  ALLUVIUM_CHECK(request.share >= 0 && request.share <= 1,
                 "the share of rows to recompute must lie in [0, 1], got {}", request.share);
  const KvCache& cache = *request.cache;
  ALLUVIUM_CHECK(cache.begins_.empty() && !cache.log_bias_.defined() && cache.attends_plainly() &&
                     cache.next_position_ == cache.slots_,
                 "rows are recomputed in an even and plain cache with one slot a position alone");
  const auto n = static_cast<int64_t>(request.tokens.size());
  ALLUVIUM_CHECK(n >= 1 && n <= cache.slots_, "a cache of {} slots does not end with {} tokens",
                 cache.slots_, n);
  check_tokens(request.tokens);
}

std::vector<int64_t> LlamaDecoder::repair(const RepairRequest& request) const {
  const c10::InferenceMode no_gradient;
  check_repair(request);
  KvCache& cache = *request.cache;
  const auto n = static_cast<int64_t>(request.tokens.size());
  const int64_t count = count_of_share(request.share, n);
  if (count == 0) {
    return {};
  }
  const int64_t group = geometry_.heads / geometry_.kv_heads;
  const auto options = at::TensorOptions(policy_.dtype).device(policy_.device);
  Slice slice;
  slice.rows = n;
  slice.view.slots_before = slice.first_position = cache.slots_ - n;
  slice.view.mask = make_mask(slice.view, n, group, options);

  const ReadRequest all{.cache = &cache, .tokens = request.tokens};
  ReadResult unused;
  std::vector<int64_t> chosen;
  at::Tensor positions;
  AttentionView view;
  at::Tensor x = embed({&all, 1});
  for (int64_t l = 0; l < geometry_.layers; ++l) {
    at::Tensor qkv = project(l, x, {});
    if (l == kCheckLayer) {
      const at::Tensor stored = cache.values_[l].narrow(1, slice.first_position, n);
      const at::Tensor fresh =
          rows_of(qkv, slice)
              .narrow(1, geometry_.heads + geometry_.kv_heads, geometry_.kv_heads)
              .transpose(0, 1);
      chosen = most_deviating(value_deviation(stored, fresh), count);
      store_rows(l, qkv, slice, cache);
      const at::Tensor rows = at::from_blob(chosen.data(), {count}, at::kLong).clone();
      positions = rows.add(slice.first_position);
      view = scattered_view(positions, cache.slots_, group, options);
      qkv = qkv.index_select(0, rows.to(policy_.device));
      x = x.index_select(0, rows.to(policy_.device));
    }
    const at::Tensor attended = l < kCheckLayer ? attend_sequence(l, qkv, slice, all, unused)
                                                : attend_scattered(l, qkv, positions, view, cache);
    if (l + 1 < geometry_.layers) {
      finish_layer_(l, x, attended, {});
    }
  }
  return chosen;
}

}  // namespace alluvium::backbone
