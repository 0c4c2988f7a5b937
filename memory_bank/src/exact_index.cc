#include <algorithm>
#include <limits>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/key_index.h"
#include "key_ranking.h"

namespace alluvium::memory_bank {
namespace {

/// All keys in one matrix; a removed key's row is taken by the last one.
class ExactIndex final : public KeyIndex {
 public:
  explicit ExactIndex(int64_t dimension) : dimension_(check_dimension(dimension)) {}

  void add(int64_t document_row, std::span<const float> keys) override {
    const std::size_t count = count_keys(keys, dimension_);
    const std::unique_lock lock(mutex_);
    erase(document_row);
    std::vector<std::size_t>& slots = slots_[document_row];
    for (std::size_t key = 0; key < count; ++key) {
      slots.push_back(owners_.size());
      owners_.push_back(document_row);
    }
    matrix_.insert(matrix_.end(), keys.begin(), keys.end());
  }

  void remove(int64_t document_row) override {
    const std::unique_lock lock(mutex_);
    erase(document_row);
  }

  std::vector<KeyHit> search(std::span<const float> query, int64_t limit,
                             const KeyFilter& filter) const override {
    check_query(query, dimension_);
    const std::shared_lock lock(mutex_);
    std::vector<KeyHit> hits;
    hits.reserve(slots_.size());
    for (const auto& [row, slots] : slots_) {
      if (!filter || filter(row)) {
        hits.push_back({row, best_of(query, slots)});
      }
    }
    return take_best(std::move(hits), limit);
  }

  std::vector<double> score(std::span<const float> query,
                            std::span<const int64_t> document_rows) const override {
    check_query(query, dimension_);
    const std::shared_lock lock(mutex_);
    std::vector<double> scores;
    for (const int64_t row : document_rows) {
      const auto found = slots_.find(row);
      scores.push_back(found == slots_.end() ? -1.0 : best_of(query, found->second));
    }
    return scores;
  }

  int64_t documents() const override {
    const std::shared_lock lock(mutex_);
    return static_cast<int64_t>(slots_.size());
  }

  int64_t keys() const override {
    const std::shared_lock lock(mutex_);
    return static_cast<int64_t>(owners_.size());
  }

 private:
  double best_of(std::span<const float> query, const std::vector<std::size_t>& slots) const {
    float best = -std::numeric_limits<float>::infinity();
    for (const std::size_t slot : slots) {
      best = std::max(best, dot(query, matrix_.data() + slot * dimension_));
    }
    return std::clamp(static_cast<double>(best), -1.0, 1.0);
  }

  void erase(int64_t document_row) {
    const auto found = slots_.find(document_row);
    if (found == slots_.end()) {
      return;
    }
    std::vector<std::size_t> gone = std::move(found->second);
    slots_.erase(found);
    // From the highest slot down, so that the row moved in is never one that goes too.
    std::sort(gone.begin(), gone.end(), std::greater<>());
    for (const std::size_t slot : gone) {
      const std::size_t last = owners_.size() - 1;
      if (slot != last) {
        std::copy_n(matrix_.begin() + last * dimension_, dimension_,
                    matrix_.begin() + slot * dimension_);
        owners_[slot] = owners_[last];
        std::vector<std::size_t>& moved = slots_[owners_[slot]];
        std::replace(moved.begin(), moved.end(), last, slot);
      }
      owners_.pop_back();
      matrix_.resize(last * dimension_);
    }
  }

  const std::size_t dimension_;
  mutable std::shared_mutex mutex_;
  std::vector<float> matrix_;    // [keys, dimension]
  std::vector<int64_t> owners_;  // document of each row of the matrix
  std::unordered_map<int64_t, std::vector<std::size_t>> slots_;  // rows of each document
};

}  // namespace

std::unique_ptr<KeyIndex> make_exact_index(int64_t dimension) {
  return std::make_unique<ExactIndex>(dimension);
}

}  // namespace alluvium::memory_bank
