#include "recent_rows.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "alluvium/core/error.h"

namespace alluvium::selectors {
namespace {

constexpr std::size_t kHead = 64;
constexpr float kRounding = 1e-5F;  // of a bound that is no bound by the last bits of its sums

struct Split {
  std::span<const float> head;
  std::span<const float> tail;
  float tail_length;
};

Split split(std::span<const float> row) {
  const std::size_t head = std::min(kHead, row.size());
  const std::span<const float> tail = row.subspan(head);
  return {row.first(head), tail, std::sqrt(dot(tail, tail))};
}

}  // namespace

std::optional<RecentRows::Near> RecentRows::nearest_above(std::span<const float> unit_row,
                                                          float least) const {
  if (size() == 0) {
    return std::nullopt;
  }
  check_dimension(unit_row);
  const Split query = split(unit_row);
  std::optional<Near> nearest;
  float best = least;
  int64_t slot = oldest_;
  for (int64_t place = 0; place < size(); ++place, slot = slot + 1 == size() ? 0 : slot + 1) {
    float cosine = dot(query.head, heads_.row(slot));
    if (!query.tail.empty()) {
      const float most = query.tail_length * tail_lengths_[static_cast<std::size_t>(slot)];
      if (cosine + most + kRounding <= best) {
        continue;
      }
      cosine += dot(query.tail, tails_.row(slot));
    }
    if (cosine > best) {
      best = cosine;
      nearest = {place, cosine};
    }
  }
  return nearest;
}

void RecentRows::append(std::span<const float> unit_row) {
  if (size() > 0) {
    check_dimension(unit_row);
  }
  const Split added = split(unit_row);
  if (size() < capacity_) {
    heads_.append(added.head);
    tail_lengths_.push_back(added.tail_length);
    if (!added.tail.empty()) {
      tails_.append(added.tail);
    }
    return;
  }
  std::copy(added.head.begin(), added.head.end(), heads_.row(oldest_).begin());
  tail_lengths_[static_cast<std::size_t>(oldest_)] = added.tail_length;
  if (!added.tail.empty()) {
    std::copy(added.tail.begin(), added.tail.end(), tails_.row(oldest_).begin());
  }
  oldest_ = (oldest_ + 1) % capacity_;
}

RowMatrix RecentRows::rows() const {
  RowMatrix rows;
  rows.dimension = heads_.dimension + tails_.dimension;
  rows.values.reserve(heads_.values.size() + tails_.values.size());
  for (int64_t place = 0; place < size(); ++place) {
    const int64_t slot = (oldest_ + place) % size();
    const std::span<const float> head = heads_.row(slot);
    rows.values.insert(rows.values.end(), head.begin(), head.end());
    if (tails_.dimension > 0) {
      const std::span<const float> tail = tails_.row(slot);
      rows.values.insert(rows.values.end(), tail.begin(), tail.end());
    }
  }
  return rows;
}

void RecentRows::restore(const RowMatrix& rows) {
  RecentRows restored(capacity_);
  for (int64_t i = 0; i < rows.rows(); ++i) {
    restored.append(rows.row(i));
  }
  *this = std::move(restored);
}

void RecentRows::check_dimension(std::span<const float> unit_row) const {
  ALLUVIUM_CHECK(std::ssize(unit_row) == heads_.dimension + tails_.dimension,
                 "a vector of {} numbers among those of {}", unit_row.size(),
                 heads_.dimension + tails_.dimension);
}

}  // namespace alluvium::selectors
