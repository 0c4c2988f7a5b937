// Rows of documents read apart, made anew among the others: LlamaDecoder::repair and recompute.
#include <algorithm>
#include <functional>
#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "llama_decoder.h"
#include "row_ops.h"
#include "value_deviation.h"

namespace alluvium::backbone {
namespace {

// The first layer whose values depend on what stands before a token.
constexpr int64_t kCheckLayer = 1;

at::Tensor places(std::span<const int64_t> rows) {
  return at::from_blob(const_cast<int64_t*>(rows.data()), {static_cast<int64_t>(rows.size())},
                       at::kLong)
      .clone();
}

}  // namespace

LlamaDecoder::Scattered LlamaDecoder::scatter(const KvCache& cache,
                                              const at::Tensor& positions) const {
  return {positions,
          scattered_view(positions, cache.slots_, geometry_.heads / geometry_.kv_heads,
                         at::TensorOptions().dtype(policy_.dtype).device(policy_.device)),
          {}};
}

std::vector<at::Tensor> LlamaDecoder::mark_parts(const KvCache& cache,
                                                 std::span<const int64_t> parts) const {
  std::vector<at::Tensor> marks;
  int64_t begin = cache.slots_ - std::accumulate(parts.begin(), parts.end(), int64_t{0});
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto channel = static_cast<int64_t>(i) % geometry_.head_dim;
    if (channel == 0) {
      marks.push_back(at::zeros({geometry_.kv_heads, cache.slots_, geometry_.head_dim},
                                at::TensorOptions().dtype(policy_.dtype).device(policy_.device)));
    }
    marks.back().select(2, channel).narrow(1, begin, parts[i]).fill_(1);
    begin += parts[i];
  }
  return marks;
}

at::Tensor LlamaDecoder::attend_scattered(int64_t layer, const at::Tensor& qkv,
                                          const Scattered& scattered, const KvCache& cache,
                                          const at::Tensor& part_weights) const {
  const int64_t heads = geometry_.heads;
  const int64_t kv_heads = geometry_.kv_heads;
  const int64_t head_dim = geometry_.head_dim;
  const at::Tensor rows = qkv.view({qkv.size(0), heads + 2 * kv_heads, head_dim}).transpose(0, 1);
  const at::Tensor rotated = at::empty({heads + kv_heads, qkv.size(0), head_dim}, qkv.options());
  rotate_keys_into_(rotated, rows.narrow(0, 0, heads + kv_heads), rope_, scattered.positions);
  const int64_t slots = scattered.view.mask.size(1);
  const at::Tensor keys = cache.keys_[layer].narrow(1, 0, slots);
  const at::Tensor values = cache.values_[layer].narrow(1, 0, slots);
  const at::Tensor here = scattered.positions.to(policy_.device);
  keys.index_copy_(1, here, rotated.narrow(0, heads, kv_heads));
  values.index_copy_(1, here, rows.narrow(0, heads + kv_heads, kv_heads));
  const at::Tensor queries = rotated.narrow(0, 0, heads).transpose(0, 1);
  for (std::size_t i = 0; part_weights.defined() && i < scattered.part_marks.size(); ++i) {
    const int64_t first = static_cast<int64_t>(i) * head_dim;
    const int64_t parts = std::min(head_dim, part_weights.size(1) - first);
    const at::Tensor of_heads = attend(queries, keys, scattered.part_marks[i], scattered.view)
                                    .view({-1, heads, head_dim})
                                    .narrow(2, 0, parts);
    part_weights.narrow(1, first, parts).copy_(of_heads.to(at::kFloat).mean(1));
  }
  return attend(queries, keys, values, scattered.view);
}

void LlamaDecoder::check_ends_with(const KvCache* cache, std::span<const TokenId> tokens) const {
  ALLUVIUM_CHECK(cache != nullptr, "rows are recomputed in a cache");
  ALLUVIUM_CHECK(cache->begins_.empty() && !cache->log_bias_.defined() &&
                     cache->attends_plainly() && cache->next_position_ == cache->slots_,
                 "rows are recomputed in an even and plain cache with one slot a position alone");
  const auto n = static_cast<int64_t>(tokens.size());
  ALLUVIUM_CHECK(n >= 1 && n <= cache->slots_, "a cache of {} slots does not end with {} tokens",
                 cache->slots_, n);
  check_tokens(tokens);
}

std::vector<int64_t> LlamaDecoder::repair(const RepairRequest& request) const {
  const c10::InferenceMode no_gradient;
  ALLUVIUM_CHECK(request.share >= 0 && request.share <= 1,
                 "the share of rows to recompute must lie in [0, 1], got {}", request.share);
  check_ends_with(request.cache, request.tokens);
  KvCache& cache = *request.cache;
  const auto n = static_cast<int64_t>(request.tokens.size());
  const int64_t count = count_of_share(request.share, n);
  if (count == 0) {
    return {};
  }
  Slice slice;
  slice.rows = n;
  slice.view.slots_before = slice.first_position = cache.slots_ - n;
  slice.view.mask = make_mask(slice.view, n, geometry_.heads / geometry_.kv_heads,
                              at::TensorOptions().dtype(policy_.dtype).device(policy_.device));

  const ReadRequest all{.cache = &cache, .tokens = request.tokens};
  ReadResult unused;
  std::vector<int64_t> chosen;
  Scattered scattered;
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
      const at::Tensor rows = places(chosen);
      scattered = scatter(cache, rows.add(slice.first_position));
      qkv = qkv.index_select(0, rows.to(policy_.device));
      x = x.index_select(0, rows.to(policy_.device));
    }
    const at::Tensor attended = l < kCheckLayer ? attend_sequence(l, qkv, slice, all, unused)
                                                : attend_scattered(l, qkv, scattered, cache, {});
    if (l + 1 < geometry_.layers) {
      finish_layer_(l, x, attended, {});
    }
  }
  return chosen;
}

RecomputedRows LlamaDecoder::recompute(const RecomputeRequest& request) const {
  const c10::InferenceMode no_gradient;
  check_ends_with(request.cache, request.tokens);
  const auto n = static_cast<int64_t>(request.tokens.size());
  const auto count = static_cast<int64_t>(request.rows.size());
  ALLUVIUM_CHECK(count >= 1, "there are no rows to recompute");
  ALLUVIUM_CHECK(request.rows.front() >= 0 && request.rows.back() < n &&
                     std::adjacent_find(request.rows.begin(), request.rows.end(),
                                        std::greater_equal<>()) == request.rows.end(),
                 "rows to recompute must rise and lie in [0, {})", n);
  const auto parts = static_cast<int64_t>(request.parts.size());
  ALLUVIUM_CHECK(
      parts == 0 || (*std::min_element(request.parts.begin(), request.parts.end()) >= 1 &&
                     std::accumulate(request.parts.begin(), request.parts.end(), int64_t{0}) == n),
      "the parts of a text of {} tokens must be of one token at least and add up to it", n);
  KvCache& cache = *request.cache;

  std::vector<TokenId> tokens;
  for (const int64_t row : request.rows) {
    tokens.push_back(request.tokens[static_cast<std::size_t>(row)]);
  }
  Scattered scattered = scatter(cache, places(request.rows).add(cache.slots_ - n));
  scattered.part_marks = mark_parts(cache, request.parts);
  const auto options = at::TensorOptions().dtype(policy_.dtype).device(policy_.device);
  const int64_t heads = geometry_.heads;
  const int64_t kv_heads = geometry_.kv_heads;
  RecomputedRows made;
  made.keys = at::empty({geometry_.layers, kv_heads, count, geometry_.head_dim}, options);
  made.values = at::empty_like(made.keys);
  if (parts > 0) {
    made.attention = at::empty({geometry_.layers, count, parts}, at::kFloat);
  }
  const ReadRequest chosen{.cache = &cache, .tokens = tokens};
  const at::Tensor x = embed({&chosen, 1});
  for (int64_t l = 0; l < geometry_.layers; ++l) {
    const at::Tensor qkv = project(l, x, {});
    const at::Tensor rows =
        qkv.view({count, heads + 2 * kv_heads, geometry_.head_dim}).transpose(0, 1);
    made.keys[l].copy_(rows.narrow(0, heads, kv_heads));
    made.values[l].copy_(rows.narrow(0, heads + kv_heads, kv_heads));
    const at::Tensor attended =
        attend_scattered(l, qkv, scattered, cache, parts > 0 ? made.attention[l] : at::Tensor());
    if (l + 1 < geometry_.layers) {
      finish_layer_(l, x, attended, {});
    }
  }
  return made;
}

}  // namespace alluvium::backbone
