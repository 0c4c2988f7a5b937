#include "tiered_index.h"

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "key_ranking.h"

namespace alluvium::memory_bank {
namespace {

class TieredIndex final : public KeyIndex {
 public:
  TieredIndex(int64_t dimension, int64_t exact_keys, const HnswOptions& options)
      : dimension_(check_dimension(dimension)),
        exact_keys_(exact_keys),
        options_(options),
        exact_(make_exact_index(dimension)) {}

  void add(int64_t document_row, std::span<const float> keys) override {
    const auto count = static_cast<int64_t>(count_keys(keys, dimension_));
    const std::unique_lock lock(mutex_);
    erase(document_row);
    if (exact_->keys() + count <= exact_keys_) {
      exact_->add(document_row, keys);
      return;
    }
    if (!graph_) {
      graph_ = make_hnsw_index(static_cast<int64_t>(dimension_), options_);
    }
    graph_->add(document_row, keys);
  }

  void remove(int64_t document_row) override {
    const std::unique_lock lock(mutex_);
    erase(document_row);
  }

  std::vector<KeyHit> search(std::span<const float> query, int64_t limit,
                             const KeyFilter& filter) const override {
    const std::shared_lock lock(mutex_);
    std::vector<KeyHit> hits = exact_->search(query, limit, filter);
    if (graph_) {
      const std::vector<KeyHit> more = graph_->search(query, limit, filter);
      hits.insert(hits.end(), more.begin(), more.end());
    }
    return take_best(std::move(hits), limit);
  }

  std::vector<double> score(std::span<const float> query,
                            std::span<const int64_t> document_rows) const override {
    const std::shared_lock lock(mutex_);
    std::vector<double> scores = exact_->score(query, document_rows);
    if (graph_) {
      // A document is in one tier; the other scores it -1.
      const std::vector<double> more = graph_->score(query, document_rows);
      std::transform(scores.begin(), scores.end(), more.begin(), scores.begin(),
                     [](double a, double b) { return std::max(a, b); });
    }
    return scores;
  }

  int64_t documents() const override {
    const std::shared_lock lock(mutex_);
    return exact_->documents() + (graph_ ? graph_->documents() : 0);
  }

  int64_t keys() const override {
    const std::shared_lock lock(mutex_);
    return exact_->keys() + (graph_ ? graph_->keys() : 0);
  }

 private:
  void erase(int64_t document_row) {
    exact_->remove(document_row);
    if (graph_) {
      graph_->remove(document_row);
    }
  }

  const std::size_t dimension_;
  const int64_t exact_keys_;
  const HnswOptions options_;
  mutable std::shared_mutex mutex_;
  std::unique_ptr<KeyIndex> exact_;
  std::unique_ptr<KeyIndex> graph_;  // null until exact_ is full
};

}  // namespace

std::unique_ptr<KeyIndex> make_tiered_index(int64_t dimension, int64_t exact_keys,
                                            const HnswOptions& options) {
  return std::make_unique<TieredIndex>(dimension, exact_keys, options);
}

}  // namespace alluvium::memory_bank
