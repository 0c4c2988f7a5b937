#include "alluvium/selectors/ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "alluvium/core/error.h"

namespace alluvium::selectors {

bool ranks_before(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.arrival < b.arrival;
}

TopRanking::TopRanking(int64_t picks, int64_t budget_tokens)
    : picks_(picks), budget_tokens_(budget_tokens) {
  ALLUVIUM_CHECK(picks >= 0, "picks must not be negative, got {}", picks);
  ALLUVIUM_CHECK(budget_tokens >= 0, "budget_tokens must not be negative, got {}", budget_tokens);
  ALLUVIUM_CHECK((picks > 0) != (budget_tokens > 0),
                 "exactly one of picks ({}) and budget_tokens ({}) must be positive", picks,
                 budget_tokens);
}

// Full: the row ranked last can never be picked once another comes before it.
bool TopRanking::is_full() const {
  return picks_ > 0 ? static_cast<int64_t>(kept_.size()) >= picks_ : tokens_ >= budget_tokens_;
}

bool TopRanking::admits(double score) const {
  return !is_full() || score > std::prev(kept_.end())->score;
}

void TopRanking::add(Candidate candidate) {
  tokens_ += candidate.tokens;
  kept_.insert(std::move(candidate));
  const auto is_spare = [this] {
    const auto last = std::prev(kept_.end());
    return picks_ > 0 ? static_cast<int64_t>(kept_.size()) > picks_
                      : kept_.size() > 1 && tokens_ - last->tokens >= budget_tokens_;
  };
  while (is_spare()) {
    const auto last = std::prev(kept_.end());
    tokens_ -= last->tokens;
    kept_.erase(last);
  }
}

std::vector<Candidate> TopRanking::take() {
  std::vector<Candidate> picks;
  int64_t left = picks_ > 0 ? std::numeric_limits<int64_t>::max() : budget_tokens_;
  while (!kept_.empty()) {
    auto node = kept_.extract(kept_.begin());
    left -= node.value().tokens;
    if (left < 0) {
      break;
    }
    picks.push_back(std::move(node.value()));
  }
  kept_.clear();
  tokens_ = 0;
  return picks;
}

QuantileGate::QuantileGate(double quantile, int64_t window)
    : quantile_(quantile), window_(static_cast<std::size_t>(window)) {
  ALLUVIUM_CHECK(quantile >= 0 && quantile < 1, "quantile must be in [0, 1), got {}", quantile);
  ALLUVIUM_CHECK(window >= 1, "window must be at least 1, got {}", window);
}

void QuantileGate::push(double score) {
  if (ring_.size() < window_) {
    ring_.push_back(score);
  } else {
    sorted_.erase(std::lower_bound(sorted_.begin(), sorted_.end(), ring_[oldest_]));
    ring_[oldest_] = score;
    oldest_ = (oldest_ + 1) % window_;
  }
  sorted_.insert(std::upper_bound(sorted_.begin(), sorted_.end(), score), score);
}

bool QuantileGate::accept(double score) {
  push(score);
  const auto below = std::lower_bound(sorted_.begin(), sorted_.end(), score) - sorted_.begin();
  return static_cast<double>(below) >= quantile_ * static_cast<double>(sorted_.size());
}

double QuantileGate::threshold() const {
  if (sorted_.empty()) {
    return 0;
  }
  const double wanted = quantile_ * static_cast<double>(sorted_.size());
  const auto place = static_cast<std::size_t>(std::ceil(wanted));
  auto lowest = sorted_.begin() + static_cast<std::ptrdiff_t>(std::min(place, sorted_.size() - 1));
  const auto below = std::lower_bound(sorted_.begin(), lowest, *lowest) - sorted_.begin();
  if (static_cast<double>(below) < wanted) {
    lowest = std::upper_bound(lowest, sorted_.end(), *lowest);
  }
  return lowest == sorted_.end() ? sorted_.back() : *lowest;
}

std::vector<double> QuantileGate::scores() const {
  std::vector<double> scores = ring_;
  std::rotate(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(oldest_), scores.end());
  return scores;
}

void QuantileGate::restore(const std::vector<double>& scores) {
  ring_.clear();
  sorted_.clear();
  oldest_ = 0;
  for (const double score : scores) {
    push(score);
  }
}

}  // namespace alluvium::selectors
