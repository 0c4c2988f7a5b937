#include "cache_plan.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include "alluvium/backbone/parallel.h"
#include "alluvium/core/error.h"
#include "row_ops.h"

namespace alluvium::backbone {
namespace {

std::vector<int64_t> counts_of(const KvSegment& segment, int64_t heads) {
  return segment.ragged() ? segment.row_counts : std::vector<int64_t>(heads, segment.slots());
}

// Moves the rows of each layer and head, which stand together in `rows` [rows, ...], to its place in
// `slots` [heads, capacity, ...] of the same dtype and device.
void scatter_(const at::Tensor& slots, const at::Tensor& rows, const std::vector<int64_t>& counts,
              const std::vector<int64_t>& places) {
  std::vector<int64_t> firsts(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), firsts.begin(), int64_t{0});
  const auto heads = static_cast<int64_t>(counts.size());
  if (!slots.is_cpu()) {
    for (int64_t h = 0; h < heads; ++h) {
      slots[h].narrow(0, places[h], counts[h]).copy_(rows.narrow(0, firsts[h], counts[h]));
    }
    return;
  }
  const auto row_bytes = static_cast<int64_t>(rows.element_size()) * rows.stride(0);
  const int64_t head_bytes = static_cast<int64_t>(slots.element_size()) * slots.stride(0);
  auto* to = static_cast<char*>(slots.mutable_data_ptr());
  const auto* from = static_cast<const char*>(rows.const_data_ptr());
  at::parallel_for(0, heads, 16, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      std::memcpy(to + h * head_bytes + places[h] * row_bytes, from + firsts[h] * row_bytes,
                  static_cast<std::size_t>(counts[h] * row_bytes));
    }
  });
}

// Any segment in its ragged form.
struct Rows {
  at::Tensor keys;  // [rows, head_dim]
  at::Tensor values;
  at::Tensor positions;  // int64 [rows]
  at::Tensor log_bias;   // float32 [rows] or undefined
};

Rows rows_of(const KvSegment& segment, int64_t heads) {
  if (segment.ragged()) {
    return {segment.keys, segment.values, segment.positions, segment.log_bias};
  }
  const int64_t m = segment.slots();
  const int64_t head_dim = segment.keys.size(3);
  const auto flat = [&](const at::Tensor& tensor) {
    return tensor.dim() == 1 ? tensor.repeat({heads}) : tensor.reshape({heads * m});
  };
  return {segment.keys.reshape({heads * m, head_dim}),
          segment.values.reshape({heads * m, head_dim}), flat(segment.positions),
          segment.log_bias.defined() ? flat(segment.log_bias) : at::Tensor()};
}

}  // namespace

CachePlan::CachePlan(const KvPrefix& prefix, const DecoderGeometry& geometry)
    : geometry_(geometry) {
  const bool ragged = std::any_of(prefix.segments.begin(), prefix.segments.end(),
                                  [](const KvSegment& s) { return s.ragged(); });
  for (const bool context : {ragged, !ragged}) {
    for (const KvSegment& segment : prefix.segments) {
      if (segment.context == context && segment.slots() > 0) {
        check(segment);
        ordered_.push_back(&segment);
      }
    }
  }
  const int64_t heads = geometry.layers * geometry.kv_heads;
  std::vector<int64_t> context(heads, 0);
  int64_t plain = 0;
  for (const KvSegment* segment : ordered_) {
    if (!segment->context) {
      plain += segment->slots();
      continue;
    }
    const std::vector<int64_t> counts = counts_of(*segment, heads);
    std::transform(context.begin(), context.end(), counts.begin(), context.begin(), std::plus<>());
  }
  const int64_t longest = *std::max_element(context.begin(), context.end());
  slots_ = plain + longest;
  context_begin_ = longest == 0 || ragged ? 0 : plain;
  context_end_ = longest == 0 ? 0 : context_begin_ + longest;
  if (ragged) {
    for (const int64_t count : context) {
      begins_.push_back(longest - count);
    }
  }
}

void CachePlan::check(const KvSegment& segment) const {
  const int64_t heads = geometry_.layers * geometry_.kv_heads;
  if (!segment.ragged()) {
    const std::vector<int64_t> expected = {geometry_.layers, geometry_.kv_heads, segment.slots(),
                                           geometry_.head_dim};
    ALLUVIUM_CHECK(
        segment.keys.sizes().vec() == expected && segment.values.sizes().vec() == expected,
        "a segment's keys and values must be [{}, {}, m, {}]", geometry_.layers, geometry_.kv_heads,
        geometry_.head_dim);
    return;
  }
  ALLUVIUM_CHECK(segment.context, "only a context segment may be ragged");
  ALLUVIUM_CHECK(static_cast<int64_t>(segment.row_counts.size()) == heads &&
                     *std::min_element(segment.row_counts.begin(), segment.row_counts.end()) >= 1,
                 "a ragged segment needs a count of 1 or more for each of {} layers and heads",
                 heads);
  const int64_t rows =
      std::accumulate(segment.row_counts.begin(), segment.row_counts.end(), int64_t{0});
  const std::vector<int64_t> expected = {rows, geometry_.head_dim};
  ALLUVIUM_CHECK(segment.keys.sizes().vec() == expected &&
                     segment.values.sizes().vec() == expected && segment.positions.numel() == rows,
                 "a ragged segment's keys and values must be [{}, {}]", rows, geometry_.head_dim);
}

at::Tensor CachePlan::make_log_bias(int64_t capacity, at::Device device) const {
  bool any = false;
  bool by_head = false;
  for (const KvSegment* segment : ordered_) {
    any = any || segment->log_bias.defined();
    by_head = by_head ||
              (segment->log_bias.defined() && (segment->ragged() || segment->log_bias.dim() == 3));
  }
  const auto options = at::TensorOptions(at::kFloat).device(device);
  if (!any) {
    return {};
  }
  // Beside a ragged segment an even one's slots differ by head too.
  return by_head || !begins_.empty()
             ? at::zeros({geometry_.layers, geometry_.kv_heads, capacity}, options)
             : at::zeros({capacity}, options);
}

void CachePlan::fill_even_(const KvSegment& segment, int64_t first, const Rope& rope,
                           const at::Tensor& keys, const at::Tensor& values,
                           const at::Tensor& log_bias) const {
  const int64_t m = segment.slots();
  for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
    const at::Tensor to = keys[layer].narrow(1, first, m);
    if (segment.key_space == KeySpace::rotated) {
      to.copy_(segment.keys[layer]);
    } else {
      rotate_keys_into_(to, segment.keys[layer], rope, segment.positions);
    }
  }
  values.narrow(2, first, m).copy_(segment.values);
  if (segment.log_bias.defined()) {
    log_bias.narrow(-1, first, m).copy_(segment.log_bias);
  }
}

void CachePlan::fill_(const Rope& rope, const at::Tensor& keys, const at::Tensor& values,
                      const at::Tensor& log_bias) const {
  const int64_t heads = geometry_.layers * geometry_.kv_heads;
  int64_t even = begins_.empty() ? 0 : context_end_;
  std::vector<int64_t> places = begins_;
  const auto by_head = [&](const at::Tensor& tensor) { return tensor.flatten(0, 1); };
  // Nobody's slots are masked, not skipped, where another head of the layer has some: a NaN left in
  // the memory would come through the mask.
  for (std::size_t h = 0; h < begins_.size(); ++h) {
    const auto head = static_cast<int64_t>(h);
    by_head(keys)[head].narrow(0, 0, begins_[h]).zero_();
    by_head(values)[head].narrow(0, 0, begins_[h]).zero_();
  }
  for (const KvSegment* segment : ordered_) {
    if (begins_.empty() || !segment->context) {
      fill_even_(*segment, even, rope, keys, values, log_bias);
      even += segment->slots();
      continue;
    }
    const Rows rows = rows_of(*segment, heads);
    const std::vector<int64_t> counts = counts_of(*segment, heads);
    const auto here = [&](const at::Tensor& tensor, const at::Tensor& like) {
      return tensor.to(like.device(), like.scalar_type()).contiguous();
    };
    at::Tensor rotated = here(rows.keys, keys);
    if (segment->key_space == KeySpace::pre_rope) {
      rotated = at::empty_like(rotated);
      rotate_keys_into_(rotated.unsqueeze(0), rows.keys.unsqueeze(0), rope, rows.positions);
    }
    scatter_(by_head(keys), rotated, counts, places);
    scatter_(by_head(values), here(rows.values, values), counts, places);
    if (rows.log_bias.defined()) {
      scatter_(by_head(log_bias), here(rows.log_bias, log_bias), counts, places);
    }
    std::transform(places.begin(), places.end(), counts.begin(), places.begin(), std::plus<>());
  }
}

}  // namespace alluvium::backbone
