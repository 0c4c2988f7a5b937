#include "alluvium/selectors/stream_gate.h"

#include <algorithm>
#include <utility>

#include "alluvium/core/error.h"

namespace alluvium::selectors {
namespace {

// What the first stage keeps: enough for each pick's survivors.
double kept_by_first(double quantile, int64_t survivors) {
  return std::min(1.0, (1 - quantile) * static_cast<double>(survivors));
}

double first_quantile(double quantile, int64_t survivors) {
  return survivors == 1 ? quantile : 1 - kept_by_first(quantile, survivors);
}

double second_quantile(double quantile, int64_t survivors) {
  return 1 - (1 - quantile) / kept_by_first(quantile, survivors);
}

void check(const Selector& selector, const StreamGateOptions& options) {
  ALLUVIUM_CHECK(options.quantile >= 0 && options.quantile < 1,
                 "quantile must be in [0, 1), got {}", options.quantile);
  ALLUVIUM_CHECK(options.warm_up >= 0, "warm_up must not be negative, got {}", options.warm_up);
  ALLUVIUM_CHECK(!selector.needs_whole_pool(),
                 "selector {} judges rows by the whole pool: a stream cannot be judged by it",
                 selector.label());
}

}  // namespace

StreamGate::StreamGate(Selector& selector, const StreamGateOptions& options)
    : selector_((check(selector, options), selector)),
      ranks_(selector.needs_targets()),
      warm_up_(options.warm_up),
      first_(first_quantile(options.quantile, selector.survivors_per_pick()), options.window),
      second_(second_quantile(options.quantile, selector.survivors_per_pick()), options.window) {}

void StreamGate::settle(Passage& passage, QuantileGate& gate, double score, bool warms_up) {
  passage.score = score;
  if (gate.accept(score) || warms_up) {
    return;
  }
  passage.outcome = Passage::Outcome::below;
  passage.threshold = gate.threshold();
  passage.reason = fmt::format("score {:.4f} is below {:.4f}", score, passage.threshold);
}

std::vector<Passage> StreamGate::judge(std::span<const Sample> samples) {
  if (selector_.observes()) {
    selector_.observe(samples);
  }
  const std::vector<Score> scores = selector_.score(samples);
  std::vector<Passage> passages(samples.size());
  std::vector<std::size_t> survivors;
  std::vector<char> warms_up(samples.size());
  const bool refines = selector_.survivors_per_pick() > 1;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    Passage& passage = passages[i];
    if (scores[i].verdict != Verdict::rank) {
      passage.outcome = scores[i].verdict == Verdict::retire ? Passage::Outcome::retired
                                                             : Passage::Outcome::refused;
      passage.reason = scores[i].reason;
      continue;
    }
    passage.score = scores[i].value;
    warms_up[i] = judged_++ < warm_up_ ? 1 : 0;
    if (ranks_) {
      settle(passage, first_, scores[i].value, warms_up[i] != 0);
    }
    if (refines && passage.outcome == Passage::Outcome::admitted) {
      survivors.push_back(i);
    }
  }
  std::vector<Sample> exactly;
  for (const std::size_t i : survivors) {
    exactly.push_back(samples[i]);
  }
  const std::vector<Score> exact =
      exactly.empty() ? std::vector<Score>() : selector_.refine(exactly);
  for (std::size_t s = 0; s < survivors.size(); ++s) {
    settle(passages[survivors[s]], second_, exact[s].value, warms_up[survivors[s]] != 0);
  }
  return passages;
}

// An old window full of high scores would let nothing through until it has turned, and the second one, which only survivors enter, turns
// more slowly than the stream.
void StreamGate::set_targets(std::shared_ptr<const TargetSet> targets) {
  selector_.set_targets(std::move(targets));
  restore({});
}

StreamGateWindow StreamGate::window() const {
  return {.first = first_.scores(), .second = second_.scores(), .judged = judged_};
}

void StreamGate::restore(const StreamGateWindow& window) {
  first_.restore(window.first);
  second_.restore(window.second);
  judged_ = window.judged;
}

}  // namespace alluvium::selectors
