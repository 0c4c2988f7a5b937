// Likelihood with a gradient in an adapter's factors: LlamaDecoder::negative_log_likelihood.
#include <limits>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "adapter_stack.h"
#include "alluvium/core/error.h"
#include "gradient_ops.h"
#include "llama_decoder.h"

namespace alluvium::backbone {
namespace {

// Rows see their context and the earlier rows of their own sequence.
at::Tensor make_group_mask(const AttentionGroup& group, const at::Tensor& log_bias,
                           const std::vector<int64_t>& sequence_rows, at::ScalarType dtype) {
  at::Tensor own = at::full({group.rows, group.rows}, -std::numeric_limits<double>::infinity(),
                            at::TensorOptions(dtype).device(group.keys.device()));
  int64_t begin = 0;
  for (const int64_t rows : sequence_rows) {
    own.narrow(0, begin, rows).narrow(1, begin, rows).triu_(1);
    begin += rows;
  }
  at::Tensor context = at::zeros({group.rows, group.slots}, own.options());
  if (log_bias.defined() && log_bias.dim() == 1) {
    context.add_(log_bias.narrow(0, 0, group.slots));
  }
  return at::cat({context, own}, 1);
}

// Biases of slots where layers and heads differ: their own, and -inf before a head's first slot.
at::Tensor make_head_bias(const AttentionGroup& group, const at::Tensor& log_bias,
                          const std::vector<int64_t>& begins, at::ScalarType dtype) {
  const bool by_head = log_bias.defined() && log_bias.dim() == 3;
  if (begins.empty() && !by_head) {
    return {};
  }
  const int64_t layers = group.keys.size(0);
  const int64_t kv_heads = group.keys.size(1);
  at::Tensor bias = at::zeros({layers, kv_heads, group.slots},
                              at::TensorOptions(dtype).device(group.keys.device()));
  if (by_head) {
    bias.add_(log_bias.narrow(2, 0, group.slots));
  }
  for (std::size_t i = 0; i < begins.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    bias[at / kv_heads][at % kv_heads]
        .narrow(0, 0, begins[i])
        .fill_(-std::numeric_limits<double>::infinity());
  }
  return bias;
}

// Multiplies an adapter beside the frozen matrices of one call.
class AdaptedLinear {
 public:
  AdaptedLinear(const AdapterState& adapter, const DecoderGeometry& geometry,
                const AdapterDropout& dropout, at::TensorOptions options)
      : adapter_(adapter),
        geometry_(geometry),
        dropout_(dropout),
        options_(options),
        generator_(at::make_generator<at::CPUGeneratorImpl>(dropout.seed)) {}

  at::Tensor operator()(const at::Tensor& x, const LinearWeight& weight, int64_t layer,
                        std::initializer_list<Projection> parts) {
    at::Tensor y = at::linear(x, weight.dense);
    const StackedFactors factors =
        stack_factors(adapter_.layers[layer], parts, geometry_, options_);
    if (!factors.defined()) {
      return y;
    }
    return y + at::linear(at::linear(drop(x), factors.a) * adapter_.scale, factors.b);
  }

 private:
  at::Tensor drop(const at::Tensor& x) {
    if (dropout_.probability <= 0) {
      return x;
    }
    const double kept = 1.0 - dropout_.probability;
    const at::Tensor mask =
        at::bernoulli(at::full(x.sizes(), kept, at::kFloat), generator_).div_(kept).to(options_);
    return x * mask;
  }

  const AdapterState& adapter_;
  const DecoderGeometry& geometry_;
  const AdapterDropout dropout_;
  const at::TensorOptions options_;
  at::Generator generator_;
};

}  // namespace

at::Tensor LlamaDecoder::negative_log_likelihood(std::span<const ScoredSequence> sequences,
                                                 const AdapterState& adapter,
                                                 const AdapterDropout& dropout,
                                                 ScoredTrace* trace) const {
  ALLUVIUM_CHECK(!sequences.empty(), "there is no sequence to score");
  ALLUVIUM_CHECK(dropout.probability >= 0 && dropout.probability < 1,
                 "dropout must lie in [0, 1), got {}", dropout.probability);
  ALLUVIUM_CHECK(static_cast<int64_t>(adapter.layers.size()) == geometry_.layers,
                 "the adapter has {} layers, the decoder {}", adapter.layers.size(),
                 geometry_.layers);
  ALLUVIUM_CHECK(trace == nullptr || (trace->layer >= 0 && trace->layer < geometry_.layers),
                 "the traced layer must lie in [0, {}), got {}", geometry_.layers, trace->layer);
  if (trace != nullptr) {
    *trace = {
        .layer = trace->layer, .linears = {}, .first_row = {0}, .first_score = {0}, .logits = {}};
  }
  const at::ScalarType wide = residual_dtype();

  auto plan = std::make_shared<AttentionPlan>();
  std::vector<AttentionGroup> groups;
  plan->heads = geometry_.heads;
  plan->kv_heads = geometry_.kv_heads;
  plan->head_dim = geometry_.head_dim;
  std::vector<int64_t> ids;
  std::vector<int64_t> positions;
  std::vector<int64_t> scored_rows;
  std::vector<int64_t> targets;
  for (std::size_t i = 0; i < sequences.size();) {
    const KvCache* cache = sequences[i].context;
    ALLUVIUM_CHECK(cache != nullptr, "a sequence needs a context");
    if (cache->context_begin_ < cache->context_end_ &&
        (cache->temperature_ != 1.0 || cache->lse_scale_ != 1.0)) {
      throw NotSupported("learning over a context with a temperature or scale");
    }
    AttentionGroup group;
    group.begin = static_cast<int64_t>(ids.size());
    group.slots = cache->slots_;
    group.keys = cache->keys_;
    group.values = cache->values_;
    std::vector<int64_t> sequence_rows;
    for (; i < sequences.size() && sequences[i].context == cache; ++i) {
      const ScoredSequence& sequence = sequences[i];
      const auto n = static_cast<int64_t>(sequence.tokens.size());
      ALLUVIUM_CHECK(n >= 2, "a scored sequence needs two tokens, got {}", n);
      ALLUVIUM_CHECK(sequence.scored_from >= 1 && sequence.scored_from < n,
                     "scored_from must lie in [1, {}), got {}", n, sequence.scored_from);
      ALLUVIUM_CHECK(cache->next_position_ + n <= geometry_.max_positions,
                     "{} tokens at position {} exceed the model's {} positions", n,
                     cache->next_position_, geometry_.max_positions);
      for (int64_t t = 0; t < n; ++t) {
        const TokenId token = sequence.tokens[t];
        ALLUVIUM_CHECK(token >= 0 && token < geometry_.vocabulary,
                       "token {} lies outside the vocabulary of {}", token, geometry_.vocabulary);
        if (t >= sequence.scored_from) {
          scored_rows.push_back(static_cast<int64_t>(ids.size()) - 1);
          targets.push_back(token);
        }
        if (t + 1 < n) {
          ids.push_back(token);
          positions.push_back(cache->next_position_ + t);
        }
      }
      sequence_rows.push_back(n - 1);
      if (trace != nullptr) {
        trace->first_row.push_back(static_cast<int64_t>(ids.size()));
        trace->first_score.push_back(static_cast<int64_t>(targets.size()));
      }
    }
    group.rows = static_cast<int64_t>(ids.size()) - group.begin;
    group.mask = make_group_mask(group, cache->log_bias_, sequence_rows, wide);
    group.head_bias = make_head_bias(group, cache->log_bias_, cache->begins_, wide);
    groups.push_back(std::move(group));
  }
  plan->batches = batch_groups(groups, /*together=*/!policy_.device.is_cpu());
  const auto on_device = [&](const std::vector<int64_t>& numbers) {
    return at::tensor(numbers, at::kLong).to(policy_.device);
  };
  const at::Tensor rows_positions = on_device(positions);
  const at::TensorOptions wide_options = at::TensorOptions(wide).device(policy_.device);
  plan->cos = rope_.device_cosines().index_select(0, rows_positions).unsqueeze(1).to(wide_options);
  plan->sin = rope_.device_sines().index_select(0, rows_positions).unsqueeze(1).to(wide_options);

  AdaptedLinear linear(adapter, geometry_, dropout,
                       at::TensorOptions(policy_.dtype).device(policy_.device));
  at::Tensor x = weights_.embedding.index_select(0, on_device(ids)).to(wide);
  for (int64_t l = 0; l < geometry_.layers; ++l) {
    const LlamaLayer& layer = weights_.layers[l];
    const bool traced = trace != nullptr && l == trace->layer;
    // Below the traced block nothing needs a graph; its input starts one, since the weights do not.
    const at::AutoGradMode records(at::GradMode::is_enabled() &&
                                   (trace == nullptr || l >= trace->layer));
    if (traced) {
      x = x.detach().requires_grad_(at::GradMode::is_enabled());
    }
    const auto normed = [&](const at::Tensor& weight) {
      return rms_norm_with_gradient(x, weight.to(wide), geometry_.norm_epsilon, policy_.dtype);
    };
    const auto multiply = [&](const at::Tensor& input, const LinearWeight& weight,
                              std::initializer_list<Projection> parts) {
      at::Tensor output = linear(input, weight, l, parts);
      if (traced) {
        trace->linears.push_back({input.detach(), output});
      }
      return output;
    };
    const at::Tensor qkv = multiply(normed(layer.attention_norm), layer.qkv,
                                    {Projection::q, Projection::k, Projection::v});
    x = x + multiply(attend_with_gradient(qkv, plan, l), layer.attention_out, {Projection::o});
    const at::Tensor gate_up = multiply(normed(layer.feed_forward_norm), layer.gate_up,
                                        {Projection::gate, Projection::up});
    x = x + multiply(swiglu_with_gradient(gate_up), layer.down, {Projection::down});
  }
  // Few rows are scored, and a bf16 logit near 16 moves in steps of 1/8: the head is multiplied in float32.
  const at::Tensor hidden =
      rms_norm_with_gradient(x.index_select(0, on_device(scored_rows)),
                             weights_.final_norm.to(wide), geometry_.norm_epsilon, wide);
  const at::Tensor logits = at::linear(hidden, weights_.head.dense.to(wide));
  if (trace != nullptr) {
    trace->logits = logits.detach();
  }
  return -at::log_softmax(logits, 1).gather(1, on_device(targets).unsqueeze(1)).squeeze(1);
}

}  // namespace alluvium::backbone
