#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include "alluvium/backbone/parallel.h"
#include "flash_kernels.h"

namespace alluvium::backbone {
namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// The mask with each slot's bias; in float32 where there is one, because bfloat16 holds the logarithm
// of a count to 1 % of the count only.
at::Tensor biased_mask(const AttentionView& view) {
  return view.log_bias.defined() ? view.mask + view.log_bias.narrow(0, 0, view.mask.size(1))
                                 : view.mask;
}

// The two-part form, explicit in float32. q: [kv_heads, rows, head_dim]; mask: [rows, slots].
at::Tensor attend_in_parts(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                           const at::Tensor& mask, const AttentionView& view, double scale) {
  const at::Tensor k = keys.to(at::kFloat);
  const at::Tensor v = values.to(at::kFloat);
  const at::Tensor logits = at::matmul(q.to(at::kFloat), k.transpose(1, 2)) * scale;
  const at::Tensor bias = mask.to(at::kFloat);
  const int64_t begin = view.context_begin;
  const int64_t length = view.context_end - begin;
  const int64_t after = logits.size(2) - view.context_end;

  // A bias stands beside the temperature, not under it: a merged slot then equals its copies at
  // every temperature.
  const at::Tensor context =
      logits.narrow(2, begin, length) / view.temperature + bias.narrow(1, begin, length);
  const auto outside = [&](const at::Tensor& t, int64_t dim) {
    return at::cat({t.narrow(dim, 0, begin), t.narrow(dim, view.context_end, after)}, dim);
  };
  const at::Tensor rest = outside(logits, 2) + outside(bias, 1);
  const at::Tensor share =
      at::sigmoid(view.lse_scale * view.temperature * at::logsumexp(context, {2}, true) -
                  at::logsumexp(rest, {2}, true));
  const at::Tensor from_context = at::matmul(at::softmax(context, 2), v.narrow(1, begin, length));
  const at::Tensor from_rest = at::matmul(at::softmax(rest, 2), outside(v, 1));
  return (share * from_context + (1 - share) * from_rest).to(q.scalar_type());
}

// Weights of the observed slots from each row's log-sum-exp [kv_heads, rows] over all its slots, so
// that the other slots' products are not made again. The highest weight is that of the highest
// logit above its row's sum.
void observe(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& log_sum,
             const at::Tensor& mask, double scale, const ObservedSlots& observed) {
  const int64_t length = observed.end - observed.begin;
  const at::Tensor k = keys.narrow(1, observed.begin, length).to(at::kFloat);
  at::Tensor logits = at::matmul(q.to(at::kFloat) * scale, k.transpose(1, 2));
  if (mask.defined()) {
    logits.add_(mask.narrow(1, observed.begin, length));
  }
  observed.maximum.copy_(at::amax(logits.sub_(log_sum.unsqueeze(-1)), {1}).exp_());
}

at::Tensor log_sum_exp(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& mask,
                       double scale) {
  const at::Tensor logits =
      at::matmul(q.to(at::kFloat) * scale, keys.to(at::kFloat).transpose(1, 2));
  return at::logsumexp(logits + mask.to(at::kFloat), {2});
}

const Bf16* head_of(const at::Tensor& t, int64_t head) {
  return static_cast<const Bf16*>(t.const_data_ptr()) + head * t.stride(0);
}

bool rows_are_packed(const at::Tensor& t) {
  return t.scalar_type() == at::kBFloat16 && t.stride(2) == 1 && t.stride(1) == t.size(2);
}

bool takes_flash(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                 const AttentionView& view, const ObservedSlots* observed) {
  if (observed != nullptr && view.log_bias.defined()) {
    return false;  // their observer knows no bias
  }
  return flash_kernels() != nullptr && view.plain() && !view.scattered && q.is_cpu() &&
         flash_takes(q.size(2)) && rows_are_packed(q) && rows_are_packed(keys) &&
         rows_are_packed(values);
}

// Keys and values of one call, packed for its rows; [kv_heads, words] each.
struct Packed {
  at::Tensor keys;
  at::Tensor values;

  Packed(const at::Tensor& k, const at::Tensor& v) {
    const int64_t heads = k.size(0);
    const int64_t slots = k.size(1);
    const int64_t head_dim = k.size(2);
    const int64_t words = flash_words(slots, head_dim);
    keys = at::empty({heads, words}, at::kInt);
    values = at::empty({heads, words}, at::kInt);
    at::parallel_for(0, heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t h = begin; h < end; ++h) {
        flash_kernels()->pack_keys(head_of(k, h), slots, head_dim, at(keys, h));
        flash_kernels()->pack_values(head_of(v, h), slots, head_dim, at(values, h));
      }
    });
  }

  static uint32_t* at(const at::Tensor& words, int64_t head) {
    return static_cast<uint32_t*>(words.mutable_data_ptr()) + head * words.size(1);
  }
};

// observe() without the matrix of logits: whole tiles, of which the observed slots are cut out.
void observe_flash(const at::Tensor& q, const at::Tensor& packed_keys, const at::Tensor& log_sums,
                   double scale, const ObservedSlots& observed) {
  const int64_t rows = q.size(1);
  const int64_t head_dim = q.size(2);
  const int64_t first_tile = observed.begin / kFlashTile;
  const int64_t tiles = flash_tiles(observed.end) - first_tile;
  const at::Tensor highest = at::empty({q.size(0), tiles * kFlashTile}, at::kFloat);
  at::parallel_for(0, q.size(0) * tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t h = item / tiles;
      const int64_t tile = first_tile + item % tiles;
      flash_kernels()->observe(
          {.queries = head_of(q, h),
           .log_sums = log_sums.const_data_ptr<float>() + h * rows,
           .keys = Packed::at(packed_keys, h) + tile * flash_words(kFlashTile, head_dim),
           .highest = highest.mutable_data_ptr<float>() + item * kFlashTile,
           .rows = rows,
           .head_dim = head_dim,
           .scale = static_cast<float>(scale)});
    }
  });
  observed.maximum.copy_(
      highest.narrow(1, observed.begin - first_tile * kFlashTile, observed.end - observed.begin));
}

// q: [kv_heads, rows, head_dim]. Returns the same shape.
at::Tensor attend_flash(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                        const AttentionView& view, int64_t group, double scale,
                        const ObservedSlots* observed) {
  constexpr int64_t kRowsAtOnce = 96;
  const Packed packed(keys, values);
  const int64_t heads = q.size(0);
  const int64_t rows = q.size(1);
  const int64_t head_dim = q.size(2);
  const at::Tensor out = at::empty({heads, rows, head_dim}, q.options());
  const at::Tensor log_sums = at::empty({heads, rows}, at::kFloat);
  const int64_t parts = (rows + kRowsAtOnce - 1) / kRowsAtOnce;
  at::parallel_for(0, heads * parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t h = item / parts;
      const int64_t row = item % parts * kRowsAtOnce;
      flash_kernels()->attend(
          {.queries = head_of(q, h) + row * head_dim,
           .keys = Packed::at(packed.keys, h),
           .values = Packed::at(packed.values, h),
           .log_bias = view.log_bias.defined() ? view.log_bias.const_data_ptr<float>() : nullptr,
           .out = static_cast<Bf16*>(out.mutable_data_ptr()) + (h * rows + row) * head_dim,
           .log_sums = log_sums.mutable_data_ptr<float>() + h * rows + row,
           .rows = std::min(kRowsAtOnce, rows - row),
           .head_dim = head_dim,
           .visible = view.slots_before + row / group + 1,
           .first = row,
           .group = group,
           .scale = static_cast<float>(scale)});
    }
  });
  if (observed != nullptr) {
    observe_flash(q, packed.keys, log_sums, scale, *observed);
  }
  return out;
}

}  // namespace

at::Tensor make_mask(const AttentionView& view, int64_t n, int64_t group,
                     const at::TensorOptions& options) {
  const int64_t slots = view.slots_before + n;
  const auto index = options.dtype(at::kLong);
  const at::Tensor row = at::arange(n, index).unsqueeze(1);
  const at::Tensor slot = at::arange(slots, index).unsqueeze(0);
  at::Tensor mask = at::zeros({n, slots}, options.dtype(at::kFloat));
  mask.masked_fill_(slot.gt(row + view.slots_before), kHidden);
  return mask.repeat_interleave(group, 0).to(options.dtype());
}

AttentionView scattered_view(const at::Tensor& places, int64_t slots, int64_t group,
                             const at::TensorOptions& options) {
  const at::Tensor slot = at::arange(slots, places.options()).unsqueeze(0);
  AttentionView view;
  view.slots_before = slots - places.size(0);
  view.scattered = true;
  view.mask = at::zeros({places.size(0), slots}, at::TensorOptions(at::kFloat))
                  .masked_fill_(slot.gt(places.unsqueeze(1)), kHidden)
                  .repeat_interleave(group, 0)
                  .to(options);
  return view;
}

AttentionView head_view(const AttentionView& whole, int64_t layer, int64_t head, int64_t kv_heads) {
  AttentionView view = whole;
  const int64_t first =
      whole.begins.empty() ? 0 : whole.begins[static_cast<std::size_t>(layer * kv_heads + head)];
  const int64_t slots = whole.mask.size(1) - first;
  view.begins = {};
  view.first_slot = first;
  view.slots_before -= first;
  view.context_begin = std::max<int64_t>(view.context_begin - first, 0);
  view.context_end = std::max<int64_t>(view.context_end - first, 0);
  view.mask = whole.mask.narrow(1, first, slots);
  if (whole.bias_differs_by_head()) {
    view.log_bias = whole.log_bias[layer][head].narrow(0, first, slots);
  } else if (view.log_bias.defined()) {
    view.log_bias = view.log_bias.narrow(0, first, slots);
  }
  return view;
}

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                  const AttentionView& view, ObservedSlots* observed) {
  const int64_t n = queries.size(0);
  const int64_t kv_heads = keys.size(0);
  const int64_t head_dim = queries.size(2);
  const int64_t group = queries.size(1) / kv_heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));

  const at::Tensor q = queries.reshape({n, kv_heads, group, head_dim})
                           .transpose(0, 1)
                           .reshape({kv_heads, n * group, head_dim});
  at::Tensor out;
  if (takes_flash(q, keys, values, view, observed)) {
    out = attend_flash(q, keys, values, view, group, scale, observed);
  } else if (!view.plain()) {
    out = attend_in_parts(q, keys, values, biased_mask(view), view, scale);
  } else if (q.is_cpu()) {
    const at::Tensor mask = biased_mask(view);
    const auto [fused, log_sum] = at::_scaled_dot_product_flash_attention_for_cpu(
        q.unsqueeze(0), keys.unsqueeze(0), values.unsqueeze(0), 0.0, false, mask, scale);
    out = fused.squeeze(0);
    if (observed != nullptr) {
      observe(q, keys, log_sum.squeeze(0), view.log_bias.defined() ? mask : at::Tensor(), scale,
              *observed);
    }
  } else {
    const at::Tensor mask = biased_mask(view).to(q.scalar_type());  // CUDA's kernels take no other
    out = at::scaled_dot_product_attention(q.unsqueeze(0), keys.unsqueeze(0), values.unsqueeze(0),
                                           mask, 0.0, false, scale)
              .squeeze(0);
    if (observed != nullptr) {
      observe(q, keys, log_sum_exp(q, keys, mask, scale), mask, scale, *observed);
    }
  }
  return out.view({kv_heads, n, group, head_dim})
      .transpose(0, 1)
      .reshape({n, kv_heads * group * head_dim});
}

}  // namespace alluvium::backbone
