#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include "alluvium/core/clock.h"
#include "alluvium/core/process_memory.h"
#include "alluvium/experiments/selection_bench.h"
#include "alluvium/selectors/ranking.h"

namespace alluvium::experiments {
namespace {

constexpr std::size_t kBatch = 256;

template <class Use>
void for_batches(std::span<const selectors::Sample> samples, const Use& use) {
  for (std::size_t begin = 0; begin < samples.size(); begin += kBatch) {
    use(samples.subspan(begin, std::min(kBatch, samples.size() - begin)));
  }
}

}  // namespace

SelectionMeasure measure_selector(selectors::Selector& selector, const SelectionTask& task,
                                  int64_t picks) {
  SelectionMeasure measure;
  const bool one_stage = selector.survivors_per_pick() == 1;
  measure.scores.resize(one_stage ? task.pool.size() : 0);
  reset_peak_rss();
  const Stopwatch watch;
  selector.set_targets(
      std::make_shared<selectors::TargetSet>(selectors::TargetSet{1, task.targets}));
  if (selector.observes()) {
    for_batches(task.pool, [&](auto batch) { selector.observe(batch); });
    selector.end_observing();
  }
  selectors::TopRanking top(picks * selector.survivors_per_pick(), 0);
  for_batches(task.pool, [&](auto batch) {
    const std::vector<selectors::Score> scores = selector.score(batch);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const int64_t row = batch[i].arrival;
      if (one_stage) {
        measure.scores[static_cast<std::size_t>(row)] = scores[i].value;
      }
      if (scores[i].verdict == selectors::Verdict::rank && top.admits(scores[i].value)) {
        top.add({scores[i].value, row, 0, {}});
      }
    }
  });
  std::vector<selectors::Candidate> best = top.take();
  if (!one_stage) {
    std::vector<selectors::Sample> survivors;
    for (const selectors::Candidate& candidate : best) {
      survivors.push_back(task.pool[static_cast<std::size_t>(candidate.arrival)]);
    }
    const std::vector<selectors::Score> exact = selector.refine(survivors);
    for (std::size_t i = 0; i < best.size(); ++i) {
      best[i].score = exact[i].value;
    }
    std::sort(best.begin(), best.end(), selectors::ranks_before);
    best.resize(std::min(best.size(), static_cast<std::size_t>(picks)));
  }
  measure.seconds = watch.elapsed_ms() / 1e3;
  measure.peak_rss_bytes = peak_rss_bytes();
  for (const selectors::Candidate& pick : best) {
    measure.ranked.push_back(pick.arrival);
  }
  return measure;
}

double precision_at(const SelectionTask& task, const std::vector<int64_t>& ranked, int64_t k) {
  const std::size_t count = std::min(ranked.size(), static_cast<std::size_t>(k));
  int64_t hits = 0;
  for (std::size_t i = 0; i < count; ++i) {
    hits += task.in_domain[static_cast<std::size_t>(ranked[i])] ? 1 : 0;
  }
  return count == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(count);
}

double recall_of_top(const std::vector<int64_t>& exact, const std::vector<int64_t>& ranked,
                     int64_t k) {
  const auto first = [k](const std::vector<int64_t>& list) {
    const auto count = std::min<std::ptrdiff_t>(std::ssize(list), k);
    return std::set<int64_t>(list.begin(), list.begin() + count);
  };
  const std::set<int64_t> wanted = first(exact);
  int64_t found = 0;
  for (const int64_t row : first(ranked)) {
    found += wanted.count(row) > 0 ? 1 : 0;
  }
  return wanted.empty() ? 1 : static_cast<double>(found) / static_cast<double>(wanted.size());
}

}  // namespace alluvium::experiments
