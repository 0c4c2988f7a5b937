// Which samples of a stream are let through: a selector's scores against a running quantile of them.
//
// Purpose: the streaming form of every selector. With a cheap and an exact score (zip_fit's two stages) the first quantile keeps what the
//          survivors need and the second decides among them.
// Threads: owned by one thread; the selector uses its own workers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "alluvium/selectors/ranking.h"
#include "alluvium/selectors/selector.h"

namespace alluvium::selectors {

/// What became of one sample at the gate.
struct Passage {
  enum class Outcome {
    admitted,
    below,    ///< its score is too low
    refused,  ///< it cannot be judged; the reason says why
    retired,  ///< known already
  };
  Outcome outcome = Outcome::admitted;
  double score = 0;      ///< the last one it got; 0 when refused or retired
  double threshold = 0;  ///< the score that would have let it through; of `below` only
  std::string reason;    ///< in one line, unless admitted
};

struct StreamGateOptions {
  double quantile = 0;    ///< share of the stream that is kept out; in [0, 1)
  int64_t window = 1000;  ///< scores the quantile is taken of; at least 1
  int64_t warm_up = 0;    ///< so many samples pass whatever their score, at first; not negative
};

/// The scores a gate remembers, oldest first.
struct StreamGateWindow {
  std::vector<double> first;
  std::vector<double> second;  ///< of the exact scores; empty when there is one score only
  int64_t judged = 0;
};

class StreamGate {
 public:
  /// `selector` must outlive it and have its targets. A selector without targets (dedupe) lets through what it does not retire or refuse, whatever the
  /// quantile. Throws InvalidArgument when an option is outside its bounds or the selector needs the whole pool.
  StreamGate(Selector& selector, const StreamGateOptions& options);

  /// One passage a sample, in order; each is judged by the window up to itself.
  std::vector<Passage> judge(std::span<const Sample> samples);

  /// Gives the selector a new snapshot of targets in the middle of the stream. The windows and the warm-up begin anew: scores of two
  /// versions do not compare. Throws InvalidArgument as Selector::set_targets(); nothing has changed then.
  void set_targets(std::shared_ptr<const TargetSet> targets);

  StreamGateWindow window() const;
  void restore(const StreamGateWindow& window);

 private:
  static void settle(Passage& passage, QuantileGate& gate, double score, bool warms_up);

  Selector& selector_;
  const bool ranks_;
  const int64_t warm_up_;
  QuantileGate first_;
  QuantileGate second_;
  int64_t judged_ = 0;
};

}  // namespace alluvium::selectors
