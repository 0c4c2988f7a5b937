#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <unordered_map>

#include <hnswlib/hnswlib.h>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/key_index.h"
#include "key_ranking.h"

namespace alluvium::memory_bank {
namespace {

using Label = hnswlib::labeltype;

/// One graph node a key. Labels are never used again; a removed key's node is taken by a later one.
class HnswIndex final : public KeyIndex {
 public:
  HnswIndex(int64_t dimension, const HnswOptions& options)
      : dimension_(check_dimension(dimension)),
        space_(dimension_),
        graph_(&space_, static_cast<std::size_t>(options.initial_capacity),
               static_cast<std::size_t>(options.m),
               static_cast<std::size_t>(options.ef_construction), kSeed,
               /*allow_replace_deleted=*/true) {
    graph_.setEf(static_cast<std::size_t>(options.ef_search));
  }

  void add(int64_t document_row, std::span<const float> keys) override {
    const std::size_t count = count_keys(keys, dimension_);
    const std::unique_lock lock(mutex_);
    erase(document_row);
    try {
      reserve(owners_.size() + count);
      std::vector<Label>& labels = labels_[document_row];
      for (std::size_t key = 0; key < count; ++key) {
        const Label label = next_label_++;
        graph_.addPoint(keys.data() + key * dimension_, label, /*replace_deleted=*/true);
        labels.push_back(label);
        owners_[label] = document_row;
      }
    } catch (const std::runtime_error& error) {
      // hnswlib has one type for all: with our arguments it can only be out of memory.
      throw ResourceExhausted(fmt::format("vector index: {}", error.what()));
    }
  }

  void remove(int64_t document_row) override {
    const std::unique_lock lock(mutex_);
    erase(document_row);
  }

  std::vector<KeyHit> search(std::span<const float> query, int64_t limit,
                             const KeyFilter& filter) const override {
    check_query(query, dimension_);
    const std::shared_lock lock(mutex_);
    if (limit <= 0 || owners_.empty()) {
      return {};
    }
    // Several of the nearest keys may belong to one document: ask for more until enough documents
    // are among them.
    std::size_t wanted = std::min(owners_.size(), kKeysPerHit * static_cast<std::size_t>(limit));
    while (true) {
      std::size_t found = 0;
      std::vector<KeyHit> hits = search_keys(query, wanted, filter, found);
      const bool exhausted = found < wanted || wanted == owners_.size();
      if (exhausted || hits.size() >= static_cast<std::size_t>(limit)) {
        return take_best(std::move(hits), limit);
      }
      wanted = std::min(owners_.size(), wanted * 4);
    }
  }

  std::vector<double> score(std::span<const float> query,
                            std::span<const int64_t> document_rows) const override {
    check_query(query, dimension_);
    const std::shared_lock lock(mutex_);
    std::vector<double> scores;
    for (const int64_t row : document_rows) {
      double best = -1.0;
      const auto found = labels_.find(row);
      if (found != labels_.end()) {
        for (const Label label : found->second) {
          const std::vector<float> key = graph_.getDataByLabel<float>(label);
          best = std::max(best, static_cast<double>(dot(query, key.data())));
        }
      }
      scores.push_back(std::min(best, 1.0));
    }
    return scores;
  }

  int64_t documents() const override {
    const std::shared_lock lock(mutex_);
    return static_cast<int64_t>(labels_.size());
  }

  int64_t keys() const override {
    const std::shared_lock lock(mutex_);
    return static_cast<int64_t>(owners_.size());
  }

 private:
  static constexpr std::size_t kSeed = 100;
  static constexpr std::size_t kKeysPerHit = 4;

  /// A KeyFilter as hnswlib asks for one.
  class LabelFilter final : public hnswlib::BaseFilterFunctor {
   public:
    LabelFilter(const std::unordered_map<Label, int64_t>& owners, const KeyFilter& filter)
        : owners_(owners), filter_(filter) {}
    bool operator()(Label label) override { return filter_(owners_.at(label)); }

   private:
    const std::unordered_map<Label, int64_t>& owners_;
    const KeyFilter& filter_;
  };

  /// The documents of the `wanted` nearest keys; `found` receives how many keys there were.
  std::vector<KeyHit> search_keys(std::span<const float> query, std::size_t wanted,
                                  const KeyFilter& filter, std::size_t& found) const {
    LabelFilter label_filter(owners_, filter);
    auto nearest = graph_.searchKnn(query.data(), wanted, filter ? &label_filter : nullptr);
    found = nearest.size();
    std::unordered_map<int64_t, double> best;
    for (; !nearest.empty(); nearest.pop()) {
      const auto [distance, label] = nearest.top();
      const double cosine = std::clamp(1.0 - static_cast<double>(distance), -1.0, 1.0);
      const auto [entry, is_new] = best.emplace(owners_.at(label), cosine);
      entry->second = std::max(entry->second, cosine);
    }
    std::vector<KeyHit> hits;
    for (const auto& [row, cosine] : best) {
      hits.push_back({row, cosine});
    }
    return hits;
  }

  void erase(int64_t document_row) {
    const auto found = labels_.find(document_row);
    if (found == labels_.end()) {
      return;
    }
    for (const Label label : found->second) {
      graph_.markDelete(label);
      owners_.erase(label);
    }
    labels_.erase(found);
  }

  void reserve(std::size_t keys) {
    std::size_t capacity = graph_.getMaxElements();
    while (capacity < keys) {
      capacity *= 2;
    }
    if (capacity > graph_.getMaxElements()) {
      graph_.resizeIndex(capacity);
    }
  }

  const std::size_t dimension_;
  mutable std::shared_mutex mutex_;
  hnswlib::InnerProductSpace space_;
  hnswlib::HierarchicalNSW<float> graph_;
  Label next_label_ = 0;
  std::unordered_map<Label, int64_t> owners_;               // document of each live key
  std::unordered_map<int64_t, std::vector<Label>> labels_;  // keys of each document
};

}  // namespace

std::unique_ptr<KeyIndex> make_hnsw_index(int64_t dimension, const HnswOptions& options) {
  ALLUVIUM_CHECK(options.m > 1 && options.ef_construction > 0 && options.ef_search > 0 &&
                     options.initial_capacity > 0,
                 "hnsw options must be positive and m at least 2");
  return std::make_unique<HnswIndex>(dimension, options);
}

}  // namespace alluvium::memory_bank
