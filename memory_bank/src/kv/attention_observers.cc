// Observers that watch the chunk's own attention: tail, h2o and zipcache.
//
// Source : tail: SnapKV (Li et al., NeurIPS 2024): the last 32 tokens vote, pooled by a maximum of
//          seven; the window itself is kept. h2o: Heavy-Hitter Oracle (Zhang et al., NeurIPS 2023):
//          attention a row received, summed over all tokens. zipcache: ZipCache (He et al., NeurIPS
//          2024): attention a row received from probes, the last 5 % of the tokens and as many random
//          ones before them, over the number of probes that can see it, so that early rows have no
//          advantage.
// Differs: scores are averaged over the query heads of a group, so that a KV head chooses once. tail:
//          the window takes at most half of the rows that are kept. h2o: no recent window, because
//          the question will not stand next to the chunk's end; early rows keep their advantage, as
//          in the source. zipcache: the paper's own program divides row j by n - j, as if all tokens
//          after it were probes, which lifts the rows of the densely probed end: a defect that is not
//          repeated here; and the source gives rows of little saliency fewer bits, here they leave.
#include <algorithm>
#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include "kv/chunk_attention.h"
#include "kv/observer.h"
#include "kv/row_scores.h"

namespace alluvium::memory_bank {
namespace {

constexpr int64_t kWindow = 32;
constexpr int64_t kKernel = 7;
constexpr int64_t kProbedShare = 20;  // one token in twenty at the end, and one before

/// Tokens whose attention is asked, rising: the last ones, and as many of the others by chance.
at::Tensor probes_of(std::span<const backbone::TokenId> tokens) {
  const auto n = static_cast<int64_t>(tokens.size());
  const int64_t last = (n + kProbedShare - 1) / kProbedShare;
  std::vector<int64_t> probes(static_cast<std::size_t>(n - last));
  std::iota(probes.begin(), probes.end(), int64_t{0});
  seeded_by(tokens).shuffle(probes);
  probes.resize(static_cast<std::size_t>(std::min(last, n - last)));
  std::sort(probes.begin(), probes.end());
  for (int64_t row = n - last; row < n; ++row) {
    probes.push_back(row);
  }
  at::Tensor rows =
      at::empty({static_cast<int64_t>(probes.size())}, at::TensorOptions().dtype(at::kLong));
  std::copy(probes.begin(), probes.end(), rows.mutable_data_ptr<int64_t>());
  return rows;
}

class AttentionObserver : public Observer {
 public:
  explicit AttentionObserver(const ObserverContext& context)
      : prefix_(context.prefix),
        layers_(context.decoder.geometry().layers),
        rope_(rope_of(context.decoder)) {}

  bool needs_queries() const override { return true; }

 protected:
  /// queries: how many of the last tokens, or which.
  template <class Queries, class Score>
  at::Tensor each_layer(const ObservedChunk& chunk, const Queries& queries, Score score) const {
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

class ZipcacheObserver final : public AttentionObserver {
 public:
  using AttentionObserver::AttentionObserver;

  std::vector<RowScores> score(std::span<const ObservedChunk> chunks) const override {
    std::vector<RowScores> scores;
    for (const ObservedChunk& chunk : chunks) {
      const at::Tensor probes = probes_of(chunk.tokens).to(chunk.read->keys.device());
      scores.emplace_back().scores = each_layer(chunk, probes, [&](const at::Tensor& weights) {
        return probe_saliency(weights, probes);
      });
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

std::unique_ptr<Observer> make_zipcache_observer(const ObserverContext& context) {
  return std::make_unique<ZipcacheObserver>(context);
}

}  // namespace alluvium::memory_bank
