#include "gradient_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "row_kernels.h"
#include "row_ops.h"

namespace alluvium::backbone {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

at::ScalarType wide(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

class RmsNorm : public Function<RmsNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double epsilon, int64_t dtype) {
    context->save_for_backward({x, weight});
    context->saved_data["epsilon"] = epsilon;
    return rms_norm(x, weight, epsilon, static_cast<at::ScalarType>(dtype));
  }

  // y = x r w with r = (mean x^2 + epsilon)^(-1/2): dx = r (g - x r^2 mean(g x)), g = w dy.
  static variable_list backward(AutogradContext* context, variable_list outputs) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    at::Tensor g = outputs[0].to(x.scalar_type()).mul(saved[1]);
    const at::Tensor r =
        at::rsqrt(x.square().mean(-1, true) + context->saved_data["epsilon"].toDouble());
    const at::Tensor pull = (g * x).mean(-1, true).mul_(r).mul_(r);
    return {g.sub_(x * pull).mul_(r), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

class SwiGlu : public Function<SwiGlu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up) {
    context->save_for_backward({gate_up});
    return swiglu(gate_up);
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    const at::Tensor gate_up = context->get_saved_variables()[0];
    return {swiglu_gradient(gate_up, outputs[0])};
  }
};

// Half-split rotation of states [rows, heads, head_dim] by the angles, or back.
at::Tensor rotate(const at::Tensor& states, const AttentionPlan& plan, double direction) {
  const int64_t half = plan.head_dim / 2;
  const at::Tensor first = states.narrow(2, 0, half);
  const at::Tensor second = states.narrow(2, half, half);
  const at::Tensor sin = plan.sin * direction;
  at::Tensor out = at::empty(states.sizes(), states.options());
  out.narrow(2, 0, half).copy_(first * plan.cos - second * sin);
  out.narrow(2, half, half).copy_(second * plan.cos + first * sin);
  return out;
}

// Rows of the plan that belong to a batch, at their places: [groups * longest, ...].
at::Tensor take(const AttentionBatch& batch, const at::Tensor& rows) {
  const at::Tensor own = rows.narrow(0, batch.begin, batch.rows);
  return batch.row_at.defined() ? own.index_select(0, batch.row_at) : own;
}

// The other way: `rows` get what stands at their places.
void put_(const AttentionBatch& batch, const at::Tensor& rows, const at::Tensor& placed) {
  rows.narrow(0, batch.begin, batch.rows)
      .copy_(batch.place_of.defined() ? placed.index_select(0, batch.place_of) : placed);
}

// [groups * longest, kv_heads * n, dim] -> [groups * kv_heads, longest * n, dim]: the query heads of a key's head beside each other.
at::Tensor by_head(const AttentionBatch& batch, const at::Tensor& rows, int64_t kv_heads) {
  const int64_t n = rows.size(1) / kv_heads;
  return rows.reshape({batch.groups, batch.longest, kv_heads, n, rows.size(2)})
      .transpose(1, 2)
      .reshape({batch.groups * kv_heads, batch.longest * n, rows.size(2)});
}

// The other way.
at::Tensor by_row(const AttentionBatch& batch, const at::Tensor& heads) {
  const int64_t kv_heads = heads.size(0) / batch.groups;
  const int64_t n = heads.size(1) / batch.longest;
  return heads.reshape({batch.groups, kv_heads, batch.longest, n, heads.size(2)})
      .transpose(1, 2)
      .reshape({batch.groups * batch.longest, kv_heads * n, heads.size(2)});
}

class Attention : public Function<Attention> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& qkv,
                            const std::shared_ptr<const AttentionPlan>& plan, int64_t layer) {
    const at::Tensor states =
        qkv.view({qkv.size(0), -1, plan->head_dim}).to(wide(qkv.scalar_type()));
    const int64_t rotated = plan->heads + plan->kv_heads;
    const at::Tensor turned = rotate(states.narrow(1, 0, rotated), *plan, 1.0);
    const at::Tensor values = states.narrow(1, rotated, plan->kv_heads);
    at::Tensor out = at::empty({qkv.size(0), plan->heads * plan->head_dim}, qkv.options());
    variable_list saved = {turned, values};
    for (const AttentionBatch& batch : plan->batches) {
      const Part part = part_of(*plan, batch, layer, turned, values);
      at::Tensor weights = at::bmm(part.queries, part.keys.transpose(1, 2));
      const at::Tensor by_row_and_head =
          weights.view({batch.groups, plan->kv_heads, batch.longest, -1, weights.size(2)});
      by_row_and_head.add_(batch.mask.unsqueeze(2).unsqueeze(1));
      if (batch.head_bias.defined()) {
        by_row_and_head.narrow(4, 0, batch.slots)
            .add_(batch.head_bias[layer].unsqueeze(2).unsqueeze(2));
      }
      weights = at::softmax(weights, 2);
      put_(batch, out, by_row(batch, at::bmm(weights, part.values)).flatten(1));
      saved.push_back(weights);
    }
    context->save_for_backward(saved);
    context->saved_data["layer"] = layer;
    keep_plan(context, plan);
    return out;
  }

  // P = softmax(S), O = P V: dV = P' dO, dS = P (dO V' - rowsum(dO O)), dQ = dS K, dK = dS' Q.
  static variable_list backward(AutogradContext* context, variable_list outputs) {
    const std::shared_ptr<const AttentionPlan> plan = plan_of(context);
    const int64_t layer = context->saved_data["layer"].toInt();
    const auto saved = context->get_saved_variables();
    const at::Tensor& turned = saved[0];
    const at::Tensor& values = saved[1];
    const int64_t rows = turned.size(0);
    at::Tensor d_turned = at::empty_like(turned);
    at::Tensor d_values = at::empty(values.sizes(), turned.options());
    const at::Tensor d_rows =
        outputs[0].to(turned.scalar_type()).view({rows, plan->heads, plan->head_dim});
    for (std::size_t i = 0; i < plan->batches.size(); ++i) {
      const AttentionBatch& batch = plan->batches[i];
      const Part part = part_of(*plan, batch, layer, turned, values);
      const at::Tensor& weights = saved[2 + i];
      const at::Tensor d_out = by_head(batch, take(batch, d_rows), plan->kv_heads);
      at::Tensor d_scores = at::bmm(d_out, part.values.transpose(1, 2));
      const at::Tensor along = (d_scores * weights).sum(2, /*keepdim=*/true);
      d_scores.sub_(along).mul_(weights);
      // A row of padding attends to itself alone, so what it adds stays at its own place.
      const auto own = [&](const at::Tensor& t) { return t.narrow(2, batch.slots, batch.longest); };
      put_(batch, d_turned.narrow(1, 0, plan->heads),
           by_row(batch, at::bmm(d_scores, part.keys)).mul_(scale(*plan)));
      // The queries of a part carry the scale already.
      put_(batch, d_turned.narrow(1, plan->heads, plan->kv_heads),
           by_row(batch, at::bmm(own(d_scores).transpose(1, 2), part.queries)));
      put_(batch, d_values, by_row(batch, at::bmm(own(weights).transpose(1, 2), d_out)));
    }
    const at::Tensor d_states = at::cat({rotate(d_turned, *plan, -1.0), d_values}, 1);
    return {d_states.reshape({rows, -1}).to(outputs[0].scalar_type()), at::Tensor(), at::Tensor()};
  }

 private:
  struct Part {
    at::Tensor queries;  // [groups * kv_heads, longest * n, head_dim], times 1 / sqrt(head_dim)
    at::Tensor keys;     // [groups * kv_heads, slots + longest, head_dim]
    at::Tensor values;
  };

  static double scale(const AttentionPlan& plan) {
    return 1.0 / std::sqrt(static_cast<double>(plan.head_dim));
  }

  static Part part_of(const AttentionPlan& plan, const AttentionBatch& batch, int64_t layer,
                      const at::Tensor& turned, const at::Tensor& values) {
    const auto join = [&](const at::Tensor& context, const at::Tensor& rows) {
      return at::cat({context[layer].flatten(0, 1).to(rows.scalar_type()),
                      by_head(batch, rows, plan.kv_heads)},
                     1);
    };
    const at::Tensor own = take(batch, turned);
    Part part;
    // Not in place: of a single row, by_head() returns a view.
    part.queries = by_head(batch, own.narrow(1, 0, plan.heads), plan.kv_heads) * scale(plan);
    part.keys = join(batch.keys, own.narrow(1, plan.heads, plan.kv_heads));
    part.values = join(batch.values, take(batch, values));
    return part;
  }

  // The plan travels beside the saved tensors.
  struct PlanHolder : torch::CustomClassHolder {
    explicit PlanHolder(std::shared_ptr<const AttentionPlan> held) : plan(std::move(held)) {}
    std::shared_ptr<const AttentionPlan> plan;
  };

  static void keep_plan(AutogradContext* context,
                        const std::shared_ptr<const AttentionPlan>& plan) {
    context->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<PlanHolder>(plan));
  }

  static std::shared_ptr<const AttentionPlan> plan_of(AutogradContext* context) {
    return c10::static_intrusive_pointer_cast<PlanHolder>(context->saved_data["plan"].toCapsule())
        ->plan;
  }
};

AttentionBatch batch_together(const std::vector<AttentionGroup>& groups) {
  AttentionBatch batch;
  batch.begin = groups.front().begin;
  batch.groups = static_cast<int64_t>(groups.size());
  bool by_head = false;
  for (const AttentionGroup& group : groups) {
    batch.rows += group.rows;
    batch.longest = std::max(batch.longest, group.rows);
    batch.slots = std::max(batch.slots, group.slots);
    by_head = by_head || group.head_bias.defined();
  }
  const at::Tensor& like = groups.front().keys;
  const at::TensorOptions wide_options = groups.front().mask.options();
  const int64_t layers = like.size(0);
  const int64_t kv_heads = like.size(1);
  batch.keys =
      at::zeros({layers, batch.groups, kv_heads, batch.slots, like.size(3)}, like.options());
  batch.values = at::zeros_like(batch.keys);
  batch.mask = at::full({batch.groups, batch.longest, batch.slots + batch.longest},
                        -std::numeric_limits<double>::infinity(), wide_options);
  batch.mask.narrow(2, batch.slots, batch.longest).diagonal(0, 1, 2).zero_();
  if (by_head) {
    batch.head_bias = at::zeros({layers, batch.groups, kv_heads, batch.slots}, wide_options);
  }
  std::vector<int64_t> row_at(static_cast<std::size_t>(batch.groups * batch.longest), 0);
  std::vector<int64_t> place_of;
  for (int64_t g = 0; g < batch.groups; ++g) {
    const AttentionGroup& group = groups[static_cast<std::size_t>(g)];
    const auto put = [&](const at::Tensor& all, const at::Tensor& own) {
      all.select(1, g).narrow(2, 0, group.slots).copy_(own.narrow(2, 0, group.slots));
    };
    put(batch.keys, group.keys);
    put(batch.values, group.values);
    if (group.head_bias.defined()) {
      put(batch.head_bias, group.head_bias);
    }
    const at::Tensor mask = batch.mask[g].narrow(0, 0, group.rows);
    mask.narrow(1, 0, group.slots).copy_(group.mask.narrow(1, 0, group.slots));
    mask.narrow(1, batch.slots, group.rows).copy_(group.mask.narrow(1, group.slots, group.rows));
    for (int64_t r = 0; r < group.rows; ++r) {
      place_of.push_back(g * batch.longest + r);
      row_at[static_cast<std::size_t>(place_of.back())] = group.begin - batch.begin + r;
    }
  }
  batch.row_at = at::tensor(row_at, at::kLong).to(like.device());
  batch.place_of = at::tensor(place_of, at::kLong).to(like.device());
  return batch;
}

}  // namespace

at::Tensor rms_norm_with_gradient(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                                  at::ScalarType dtype) {
  return RmsNorm::apply(x, weight, epsilon, static_cast<int64_t>(dtype));
}

at::Tensor swiglu_with_gradient(const at::Tensor& gate_up) { return SwiGlu::apply(gate_up); }

std::vector<AttentionBatch> batch_groups(const std::vector<AttentionGroup>& groups, bool together) {
  std::vector<AttentionBatch> batches;
  if (!together || groups.size() == 1) {
    for (const AttentionGroup& group : groups) {
      batches.push_back(
          {.begin = group.begin,
           .rows = group.rows,
           .groups = 1,
           .longest = group.rows,
           .slots = group.slots,
           .keys = group.keys.narrow(2, 0, group.slots).unsqueeze(1),
           .values = group.values.narrow(2, 0, group.slots).unsqueeze(1),
           .mask = group.mask.unsqueeze(0),
           .head_bias = group.head_bias.defined() ? group.head_bias.unsqueeze(1) : at::Tensor(),
           .row_at = {},
           .place_of = {}});
    }
    return batches;
  }
  batches.push_back(batch_together(groups));
  return batches;
}

at::Tensor attend_with_gradient(const at::Tensor& qkv,
                                const std::shared_ptr<const AttentionPlan>& plan, int64_t layer) {
  return Attention::apply(qkv, plan, layer);
}

}  // namespace alluvium::backbone
