// Who is picked, given scores: the best K, the best that fit a token budget, or a running share of a stream.
//
// Purpose: memory that depends on what is picked and never on the pool.
// Threads: each object is owned by one thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace alluvium::selectors {

/// A row that may still be picked. `line` is whatever the caller needs to give the row out.
struct Candidate {
  double score = 0;
  int64_t arrival = 0;
  int64_t tokens = 0;  ///< of budgets; otherwise unused
  std::string line;
};

/// Higher score first; equal scores in order of arrival.
bool ranks_before(const Candidate& a, const Candidate& b);

/// Keeps the best of a stream: at most `picks` of them, or as many as reach `budget_tokens`; the limit that is 0 does not count.
class TopRanking {
 public:
  /// Throws InvalidArgument unless exactly one limit is positive.
  TopRanking(int64_t picks, int64_t budget_tokens);

  /// Whether a row with this score, arriving after all others, would be kept: what costs much to make for one that is not can be left out.
  bool admits(double score) const;

  void add(Candidate candidate);

  std::size_t size() const { return kept_.size(); }
  const auto& kept() const { return kept_; }

  /// The picks, best first, and leaves nothing. With a budget: the longest run from the top whose tokens do not exceed it.
  std::vector<Candidate> take();

 private:
  struct Before {
    bool operator()(const Candidate& a, const Candidate& b) const { return ranks_before(a, b); }
  };

  bool is_full() const;

  int64_t picks_;
  int64_t budget_tokens_;
  int64_t tokens_ = 0;
  std::set<Candidate, Before> kept_;
};

/// Keeps a share of a stream by the quantile of the last `window` scores, the judged one included.
///
/// Differs: the window is exact, not a quantile sketch (KLL, t-digest): 10,000 scores are 160 kB and one insertion moves at most 80 kB,
///          1 us a score. A sketch would save memory that nobody misses at the price of a rank error in every verdict; the exact window also
///          lets a saved gate go on to the same verdicts, and `threshold` names the very score that would have passed. At the 2^20 that the
///          configuration allows at most: 16 MB and 120 us.
class QuantileGate {
 public:
  /// Throws InvalidArgument unless 0 <= quantile < 1 and window >= 1.
  QuantileGate(double quantile, int64_t window);

  /// Takes a score in; whether at least the share `quantile` of the window lies below it.
  bool accept(double score);

  /// The lowest score of the window that has at least the share `quantile` of it below, else the highest; 0 while the window is empty.
  double threshold() const;

  /// The window, oldest first, to go on after a restart.
  std::vector<double> scores() const;
  void restore(const std::vector<double>& scores);

 private:
  void push(double score);

  double quantile_;
  std::size_t window_;
  std::vector<double> ring_;
  std::size_t oldest_ = 0;
  std::vector<double> sorted_;
};

}  // namespace alluvium::selectors
