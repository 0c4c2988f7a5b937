// Observers that watch the chunk's own attention: tail and h2o.
//
// Source : tail: SnapKV (Li et al., NeurIPS 2024): the last 32 tokens vote, pooled by a maximum of
//          seven; the window itself is kept. h2o: Heavy-Hitter Oracle (Zhang et al., NeurIPS 2023):
//          attention a row received, summed over all tokens.
// Differs: scores are averaged over the query heads of a group, so that a KV head chooses once. tail:
//          the window takes at most half of the rows that are kept. h2o: no recent window, because
//          the question will not stand next to the chunk's end; early rows keep their advantage, as
//          in the source.
#include <algorithm>

#include <ATen/ops/stack.h>

#include "kv/chunk_attention.h"
#include "kv/observer.h"
#include "kv/row_scores.h"

namespace alluvium::memory_bank {
namespace {

constexpr int64_t kWindow = 32;
constexpr int64_t kKernel = 7;

class AttentionObserver : public Observer {
 public:
  explicit AttentionObserver(const ObserverContext& context)
      : prefix_(context.prefix),
        layers_(context.decoder.geometry().layers),
        rope_(context.decoder.geometry().head_dim, context.decoder.geometry().rope_base,
              context.decoder.geometry().max_positions, context.decoder.policy().device) {}

  bool needs_queries() const override { return true; }

 protected:
  template <class Score>
  at::Tensor each_layer(const ObservedChunk& chunk, int64_t queries, Score score) const {
    std::vector<at::Tensor> scores;
    for (int64_t layer = 0; layer < layers_; ++layer) {
      scores.push_back(score(chunk_attention(chunk, prefix_, rope_, layer, queries)));
    }
    return at::stack(scores).cpu();
  }

 private:
  const SharedPrefix& prefix_;
  const int64_t layers_;
  const backbone::Rope rope_;
};

class TailObserver final : public AttentionObserver {
 public:
  using AttentionObserver::AttentionObserver;

  std::vector<RowScores> score(std::span<const ObservedChunk> chunks) const override {
    std::vector<RowScores> scores;
    for (const ObservedChunk& chunk : chunks) {
      const auto n = static_cast<int64_t>(chunk.tokens.size());
      RowScores& one = scores.emplace_back();
      one.scores = each_layer(chunk, std::min(kWindow, n), [](const at::Tensor& weights) {
        return vote(weights, kKernel, Pooling::maximum);
      });
      one.protected_tail = kWindow;
    }
    return scores;
  }
};

class H2oObserver final : public AttentionObserver {
 public:
  using AttentionObserver::AttentionObserver;

  std::vector<RowScores> score(std::span<const ObservedChunk> chunks) const override {
    std::vector<RowScores> scores;
    for (const ObservedChunk& chunk : chunks) {
      scores.emplace_back().scores =
          each_layer(chunk, static_cast<int64_t>(chunk.tokens.size()),
                     [](const at::Tensor& weights) { return weights.sum(2).mean(1); });
    }
    return scores;
  }
};

}  // namespace

std::unique_ptr<Observer> make_tail_observer(const ObserverContext& context) {
  return std::make_unique<TailObserver>(context);
}

std::unique_ptr<Observer> make_h2o_observer(const ObserverContext& context) {
  return std::make_unique<H2oObserver>(context);
}

}  // namespace alluvium::memory_bank
