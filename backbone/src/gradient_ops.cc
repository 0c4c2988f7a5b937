#include "gradient_ops.h"

#include <cmath>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
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

// [rows, heads, dim] -> [kv_heads, rows * group, dim]: the query heads of a group beside each other.
at::Tensor to_groups(const at::Tensor& rows, int64_t kv_heads) {
  const int64_t n = rows.size(0);
  const int64_t group = rows.size(1) / kv_heads;
  return rows.view({n, kv_heads, group, rows.size(2)})
      .transpose(0, 1)
      .reshape({kv_heads, n * group, rows.size(2)});
}

at::Tensor from_groups(const at::Tensor& grouped, int64_t n) {
  const int64_t kv_heads = grouped.size(0);
  const int64_t group = grouped.size(1) / n;
  return grouped.view({kv_heads, n, group, grouped.size(2)})
      .transpose(0, 1)
      .reshape({n, kv_heads * group, grouped.size(2)});
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
    for (const AttentionGroup& group : plan->groups) {
      const Part part = part_of(*plan, group, layer, turned, values);
      at::Tensor weights = at::bmm(part.queries, part.keys.transpose(1, 2));
      weights.view({plan->kv_heads, group.rows, -1, weights.size(2)}).add_(group.mask.unsqueeze(1));
      if (group.head_bias.defined()) {
        weights.narrow(2, 0, group.slots).add_(group.head_bias[layer].unsqueeze(1));
      }
      weights = at::softmax(weights, 2);
      out.narrow(0, group.begin, group.rows)
          .copy_(from_groups(at::bmm(weights, part.values), group.rows).flatten(1));
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
    for (std::size_t i = 0; i < plan->groups.size(); ++i) {
      const AttentionGroup& group = plan->groups[i];
      const Part part = part_of(*plan, group, layer, turned, values);
      const at::Tensor& weights = saved[2 + i];
      const at::Tensor d_out = to_groups(outputs[0]
                                             .narrow(0, group.begin, group.rows)
                                             .to(turned.scalar_type())
                                             .view({group.rows, plan->heads, plan->head_dim}),
                                         plan->kv_heads);
      at::Tensor d_scores = at::bmm(d_out, part.values.transpose(1, 2));
      const at::Tensor along = (d_scores * weights).sum(2, /*keepdim=*/true);
      d_scores.sub_(along).mul_(weights);
      const auto own = [&](const at::Tensor& t) { return t.narrow(2, group.slots, group.rows); };
      const auto put = [&](const at::Tensor& all, int64_t head, const at::Tensor& part_rows) {
        all.narrow(0, group.begin, group.rows).narrow(1, head, part_rows.size(1)).copy_(part_rows);
      };
      put(d_turned, 0, from_groups(at::bmm(d_scores, part.keys), group.rows).mul_(scale(*plan)));
      // The queries of a part carry the scale already.
      put(d_turned, plan->heads,
          at::bmm(own(d_scores).transpose(1, 2), part.queries).transpose(0, 1));
      put(d_values, 0, at::bmm(own(weights).transpose(1, 2), d_out).transpose(0, 1));
    }
    const at::Tensor d_states = at::cat({rotate(d_turned, *plan, -1.0), d_values}, 1);
    return {d_states.reshape({rows, -1}).to(outputs[0].scalar_type()), at::Tensor(), at::Tensor()};
  }

 private:
  struct Part {
    at::Tensor queries;  // [kv_heads, rows * group, head_dim], times 1 / sqrt(head_dim)
    at::Tensor keys;     // [kv_heads, slots + rows, head_dim]
    at::Tensor values;
  };

  static double scale(const AttentionPlan& plan) {
    return 1.0 / std::sqrt(static_cast<double>(plan.head_dim));
  }

  static Part part_of(const AttentionPlan& plan, const AttentionGroup& group, int64_t layer,
                      const at::Tensor& turned, const at::Tensor& values) {
    const auto join = [&](const at::Tensor& context, const at::Tensor& rows) {
      return at::cat(
          {context[layer].narrow(1, 0, group.slots).to(rows.scalar_type()), rows.transpose(0, 1)},
          1);
    };
    const at::Tensor own = turned.narrow(0, group.begin, group.rows);
    Part part;
    // Not in place: of a single row, to_groups() returns a view.
    part.queries =
        to_groups(own.narrow(1, 0, plan.heads).contiguous(), plan.kv_heads) * scale(plan);
    part.keys = join(group.keys, own.narrow(1, plan.heads, plan.kv_heads));
    part.values = join(group.values, values.narrow(0, group.begin, group.rows));
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

}  // namespace

at::Tensor rms_norm_with_gradient(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                                  at::ScalarType dtype) {
  return RmsNorm::apply(x, weight, epsilon, static_cast<int64_t>(dtype));
}

at::Tensor swiglu_with_gradient(const at::Tensor& gate_up) { return SwiGlu::apply(gate_up); }

at::Tensor attend_with_gradient(const at::Tensor& qkv,
                                const std::shared_ptr<const AttentionPlan>& plan, int64_t layer) {
  return Attention::apply(qkv, plan, layer);
}

}  // namespace alluvium::backbone
