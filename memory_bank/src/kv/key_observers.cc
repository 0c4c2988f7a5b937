// Observers that need no attention: expected_attention, keydiff, random.
//
// Source : Expected Attention (NVIDIA, 2025): queries to come are taken as normally distributed, with
//          the mean and covariance of the chunk's own queries after its first four, turned to the
//          512 positions that follow; a row's score is its expected weight times the length of its
//          value. KeyDiff (2025): rows whose keys differ most from the mean direction. random: the
//          control that every observer must beat.
// Differs: Expected Attention weighs by the value alone, not by the output projection.
#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/diag_embed.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>

#include "kv/chunk_attention.h"
#include "kv/observer.h"
#include "kv/row_scores.h"

namespace alluvium::memory_bank {
namespace {

constexpr int64_t kSinks = 4;
constexpr int64_t kFuture = 512;

class ExpectedAttentionObserver final : public Observer {
 public:
  explicit ExpectedAttentionObserver(const ObserverContext& context)
      : prefix_(context.prefix),
        geometry_(context.decoder.geometry()),
        device_(context.decoder.policy().device),
        rope_(rope_of(context.decoder)) {}

  bool needs_queries() const override { return true; }

  std::vector<RowScores> score(std::span<const ObservedChunk> chunks) const override {
    std::vector<RowScores> scores;
    for (const ObservedChunk& chunk : chunks) {
      const at::Tensor turn = mean_rotation(static_cast<int64_t>(chunk.tokens.size()));
      std::vector<at::Tensor> layers;
      for (int64_t layer = 0; layer < geometry_.layers; ++layer) {
        layers.push_back(score_layer(chunk, layer, turn));
      }
      scores.emplace_back().scores = at::stack(layers).cpu();
    }
    return scores;
  }

 private:
  /// The rotation of half-split pairs, averaged over the positions after the chunk: [d, d].
  at::Tensor mean_rotation(int64_t chunk_tokens) const {
    const int64_t first = std::min(static_cast<int64_t>(prefix_.tokens.size()) + chunk_tokens,
                                   geometry_.max_positions - 1);
    const int64_t end = std::min(first + kFuture, geometry_.max_positions);
    const at::Tensor positions =
        at::arange(first, end, at::TensorOptions().dtype(at::kLong).device(device_));
    const at::Tensor cos = at::diag_embed(rope_.cosines(positions).mean(0));
    const at::Tensor sin = at::diag_embed(rope_.sines(positions).mean(0));
    return at::cat({at::cat({cos, -sin}, 1), at::cat({sin, cos}, 1)}, 0);
  }

  at::Tensor score_layer(const ObservedChunk& chunk, int64_t layer, const at::Tensor& turn) const {
    const at::Tensor all = chunk.read->queries[layer].to(at::kFloat);  // [heads, n, d]
    const int64_t skipped = all.size(1) > kSinks ? kSinks : 0;
    const at::Tensor q = all.narrow(1, skipped, all.size(1) - skipped);
    const at::Tensor mean = q.mean(1);  // [heads, d]
    const at::Tensor centred = q - mean.unsqueeze(1);
    const at::Tensor covariance =
        at::matmul(centred.transpose(1, 2), centred) / static_cast<double>(q.size(1));
    const at::Tensor turned_mean = at::matmul(mean, turn.t());
    const at::Tensor turned = at::matmul(at::matmul(turn, covariance), turn.t());

    const at::Tensor keys = chunk_keys(chunk, prefix_, rope_, layer);  // [kv_heads, n, d]
    const int64_t group = geometry_.heads / geometry_.kv_heads;
    const at::Tensor logits =
        expected_logits(keys.repeat_interleave(group, 0), turned_mean, turned);
    const at::Tensor weights =
        at::softmax(logits, 1).reshape({geometry_.kv_heads, group, keys.size(1)}).mean(1);
    return weights *
           at::linalg_vector_norm(chunk.read->values[layer].to(at::kFloat), 2, at::IntArrayRef{-1});
  }

  const SharedPrefix& prefix_;
  const backbone::DecoderGeometry geometry_;
  const at::Device device_;
  const backbone::Rope rope_;
};

class KeydiffObserver final : public Observer {
 public:
  explicit KeydiffObserver(const ObserverContext& context)
      : prefix_(context.prefix),
        layers_(context.decoder.geometry().layers),
        rope_(rope_of(context.decoder)) {}

  std::vector<RowScores> score(std::span<const ObservedChunk> chunks) const override {
    std::vector<RowScores> scores;
    for (const ObservedChunk& chunk : chunks) {
      std::vector<at::Tensor> layers;
      for (int64_t layer = 0; layer < layers_; ++layer) {
        layers.push_back(difference_scores(chunk_keys(chunk, prefix_, rope_, layer)));
      }
      scores.emplace_back().scores = at::stack(layers).cpu();
    }
    return scores;
  }

 private:
  const SharedPrefix& prefix_;
  const int64_t layers_;
  const backbone::Rope rope_;
};

/// Seeded by the chunk's tokens: the same chunk loses the same rows.
class RandomObserver final : public Observer {
 public:
  std::vector<RowScores> score(std::span<const ObservedChunk> chunks) const override {
    std::vector<RowScores> scores;
    for (const ObservedChunk& chunk : chunks) {
      Random random = seeded_by(chunk.tokens);
      at::Tensor& values = scores.emplace_back().scores;
      values = at::empty({chunk.read->keys.size(0), chunk.read->keys.size(1),
                          static_cast<int64_t>(chunk.tokens.size())},
                         at::TensorOptions().dtype(at::kFloat));
      auto* value = values.mutable_data_ptr<float>();
      for (int64_t i = 0; i < values.numel(); ++i) {
        value[i] = static_cast<float>(random.uniform());
      }
    }
    return scores;
  }
};

}  // namespace

std::unique_ptr<Observer> make_expected_attention_observer(const ObserverContext& context) {
  return std::make_unique<ExpectedAttentionObserver>(context);
}

std::unique_ptr<Observer> make_keydiff_observer(const ObserverContext& context) {
  return std::make_unique<KeydiffObserver>(context);
}

std::unique_ptr<Observer> make_random_observer() { return std::make_unique<RandomObserver>(); }

}  // namespace alluvium::memory_bank
