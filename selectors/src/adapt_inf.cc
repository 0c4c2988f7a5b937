#include "alluvium/selectors/adapt_inf.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/selectors/clustering.h"
#include "alluvium/selectors/coverage_sampling.h"
#include "alluvium/selectors/expert_entropy.h"
#include "alluvium/selectors/near_duplicates.h"
#include "alluvium/selectors/water_filling.h"

namespace alluvium::selectors {
namespace {

constexpr double kCandidateShare = 0.95;
constexpr int64_t kTailRows = 100;  // smaller clusters have no tails
constexpr int64_t kMaxIterations = 100;

std::vector<std::vector<int64_t>> members_of(const std::vector<int64_t>& labels, int64_t clusters) {
  std::vector<std::vector<int64_t>> members(static_cast<std::size_t>(clusters));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    members[static_cast<std::size_t>(labels[i])].push_back(static_cast<int64_t>(i));
  }
  return members;
}

std::vector<int64_t> sizes_of(const std::vector<std::vector<int64_t>>& members) {
  std::vector<int64_t> sizes;
  for (const auto& rows : members) {
    sizes.push_back(std::ssize(rows));
  }
  return sizes;
}

}  // namespace

AdaptInf::AdaptInf(const AdaptInfOptions& options, GradientScorer& scorer,
                   const TextEmbedder* embedder)
    : options_(options), scorer_(&scorer), embedder_(embedder) {
  ALLUVIUM_CHECK(options.clusters >= 0, "clusters must not be negative, got {}", options.clusters);
  ALLUVIUM_CHECK(!options.experts.empty(), "experts must name at least one score");
  ALLUVIUM_CHECK(options.tail >= 0 && options.tail < 0.5, "tail must lie in [0, 0.5), got {}",
                 options.tail);
  ALLUVIUM_CHECK(options.semantic_duplicate > 0 && options.semantic_duplicate <= 1,
                 "semantic_duplicate must lie in (0, 1], got {}", options.semantic_duplicate);
  ALLUVIUM_CHECK(options.capacity >= 1, "capacity must be at least 1, got {}", options.capacity);
  ALLUVIUM_CHECK(options.refresh_share >= 0 && options.refresh_share <= 1,
                 "refresh_share must lie in [0, 1], got {}", options.refresh_share);
  ALLUVIUM_CHECK(options.refresh_rounds >= 1, "refresh_rounds must be at least 1, got {}",
                 options.refresh_rounds);
}

void AdaptInf::add(std::span<const Sample> samples) {
  for (const Sample& sample : samples) {
    ALLUVIUM_CHECK(places_.emplace(sample.id, pool_.size()).second,
                   "sample '{}' is in the pool already", sample.id);
    Member member;
    member.sample = sample;
    member.pending = in_round_;
    pool_.push_back(std::move(member));
  }
}

void AdaptInf::pin(std::span<const std::string> ids) {
  for (const std::string& id : ids) {
    if (const auto found = places_.find(id); found != places_.end()) {
      pool_[found->second].pinned = true;
      pool_[found->second].state_changed = true;
    }
  }
}

void AdaptInf::begin_round() {
  ALLUVIUM_CHECK(!in_round_, "round {} is not finished", round_);
  ++round_;
  in_round_ = true;
  scored_ = 0;
  excluded_.clear();
  std::vector<std::size_t> stale;
  for (std::size_t i = 0; i < pool_.size(); ++i) {
    Member& member = pool_[i];
    const bool is_new = member.scored_in == 0;
    const bool was_picked = round_ > 1 && member.picked_in == round_ - 1;
    member.state_changed = member.state_changed || is_new || was_picked || member.pending;
    member.pending = is_new || was_picked;
    if (!member.pending && round_ - member.scored_in > options_.refresh_rounds) {
      stale.push_back(i);
    }
  }
  Random(options_.seed + static_cast<uint64_t>(round_)).shuffle(stale);
  const auto most = static_cast<std::size_t>(
      std::ceil(options_.refresh_share * static_cast<double>(pool_.size())));
  for (std::size_t s = 0; s < std::min(most, stale.size()); ++s) {
    pool_[stale[s]].pending = true;
    pool_[stale[s]].state_changed = true;
  }
}

int64_t AdaptInf::score_next(int64_t most) {
  ALLUVIUM_CHECK(in_round_, "there is no round to score for");
  ALLUVIUM_CHECK(most >= 1, "most must be at least 1, got {}", most);
  std::vector<std::size_t> chosen;
  int64_t left = 0;
  for (std::size_t i = 0; i < pool_.size(); ++i) {
    if (pool_[i].pending && std::ssize(chosen) < most) {
      chosen.push_back(i);
    } else if (pool_[i].pending) {
      ++left;
    }
  }
  std::vector<Sample> samples;
  for (const std::size_t i : chosen) {
    samples.push_back(pool_[i].sample);
  }
  std::vector<ScoredSample> scored = scorer_->score(samples);
  ALLUVIUM_ASSERT(scored.size() == samples.size());
  std::vector<std::size_t> unembedded;
  std::copy_if(chosen.begin(), chosen.end(), std::back_inserter(unembedded),
               [&](std::size_t i) { return embedder_ != nullptr && pool_[i].semantic.empty(); });
  if (!unembedded.empty()) {
    embed(unembedded);
  }
  bool removed = false;
  for (std::size_t s = 0; s < scored.size(); ++s) {
    Member& member = pool_[chosen[s]];
    member.pending = false;
    member.state_changed = true;
    ++scored_;
    if (scored[s].excluded.empty() && normalise_(scored[s].sketch) == 0) {
      scored[s].excluded = "its gradient is zero";
    }
    if (!scored[s].excluded.empty()) {
      excluded_.push_back({member.sample.id, scored[s].excluded});
      leave(member, scored[s].excluded);
      removed = true;
      member.scored_in = -1;
      continue;
    }
    member.scored = std::move(scored[s]);
    member.scored_in = round_;
    member.features_changed = true;
  }
  if (removed) {
    std::erase_if(pool_, [](const Member& member) { return member.scored_in < 0; });
    places_.clear();
    for (std::size_t i = 0; i < pool_.size(); ++i) {
      places_.emplace(pool_[i].sample.id, i);
    }
  }
  return left;
}

void AdaptInf::embed(std::span<const std::size_t> places) {
  std::vector<std::string> texts;
  for (const std::size_t i : places) {
    const Sample& sample = pool_[i].sample;
    texts.push_back(sample.is_plain_text()
                        ? sample.text
                        : fmt::format("{}\n{}{}", sample.document, sample.prompt, sample.answer));
  }
  std::vector<std::vector<float>> rows = embedder_->embed(texts);
  for (std::size_t t = 0; t < rows.size(); ++t) {
    normalise_(rows[t]);
    pool_[places[t]].semantic = std::move(rows[t]);
  }
}

RowMatrix AdaptInf::sketches() const {
  RowMatrix rows;
  for (const Member& member : pool_) {
    rows.append(member.scored.sketch);
  }
  return rows;
}

void AdaptInf::cluster_pool() {
  const RowMatrix rows = sketches();
  const int64_t size = rows.rows();
  int64_t clusters = options_.clusters;
  if (clusters == 0) {
    if (chosen_clusters_ == 0 || 4 * std::abs(size - chosen_at_) > chosen_at_) {
      chosen_clusters_ = choose_clusters(rows, options_.seed);
      chosen_at_ = size;
    }
    clusters = chosen_clusters_;
  }
  KMeansOptions options;
  options.clusters = std::min(clusters, size);
  options.iterations = kMaxIterations;
  options.seed = options_.seed;
  options.warm_start = centroids_.rows() > 0 ? &centroids_ : nullptr;
  Clustering found = k_means(rows, options);
  centroids_ = std::move(found.centroids);
  for (std::size_t i = 0; i < pool_.size(); ++i) {
    pool_[i].state_changed = pool_[i].state_changed || pool_[i].cluster != found.labels[i];
    pool_[i].cluster = found.labels[i];
  }
}

Expert AdaptInf::choose_expert(const std::vector<int64_t>& members, ClusterReport& report) const {
  Expert best = options_.experts.front();
  double highest = -1;
  for (const Expert expert : options_.experts) {
    std::vector<double> scores;
    for (const int64_t i : members) {
      const double score = pool_[static_cast<std::size_t>(i)].scored.score(expert);
      if (std::isfinite(score)) {
        scores.push_back(score);
      }
    }
    if (static_cast<double>(scores.size()) <
        kCandidateShare * static_cast<double>(members.size())) {
      continue;
    }
    const double bits = expert_entropy(scores);
    report.entropies[expert] = bits;
    if (bits > highest) {
      highest = bits;
      best = expert;
    }
  }
  // Where no listed expert is defined, the loss always is.
  return highest < 0 ? Expert::nll : best;
}

RoundReport AdaptInf::finish_round(int64_t budget) {
  ALLUVIUM_CHECK(in_round_, "there is no round to finish");
  ALLUVIUM_CHECK(budget >= 1, "budget must be at least 1, got {}", budget);
  ALLUVIUM_CHECK(pending() == 0, "{} samples are still to be scored", pending());
  RoundReport report;
  report.round = round_;
  report.scored = scored_;
  report.excluded = std::move(excluded_);
  excluded_.clear();
  report.pool = pool_size();
  in_round_ = false;
  if (pool_.empty()) {
    return report;
  }
  cluster_pool();
  report.copies = drop_alike(std::numeric_limits<int64_t>::max());
  std::vector<int64_t> labels;
  for (const Member& member : pool_) {
    labels.push_back(member.cluster);
  }
  const auto members = members_of(labels, centroids_.rows());
  const std::vector<int64_t> budgets = water_fill(sizes_of(members), budget);
  Random random(options_.seed * 7919 + static_cast<uint64_t>(round_));
  for (std::size_t k = 0; k < members.size(); ++k) {
    const std::vector<int64_t>& rows = members[k];
    ClusterReport cluster;
    cluster.size = std::ssize(rows);
    cluster.budget = budgets[k];
    cluster.expert = choose_expert(rows, cluster);
    cluster.first = pool_[static_cast<std::size_t>(rows.front())].sample.id;
    cluster.last = pool_[static_cast<std::size_t>(rows.back())].sample.id;
    // The few without the chosen score are drawn only when the others are not enough.
    std::vector<int64_t> with;
    std::vector<int64_t> without;
    std::vector<double> scores;
    for (const int64_t i : rows) {
      const double score = pool_[static_cast<std::size_t>(i)].scored.score(cluster.expert);
      if (std::isfinite(score)) {
        with.push_back(i);
        scores.push_back(score);
      } else {
        without.push_back(i);
      }
    }
    CoverageOptions coverage;
    coverage.budget = budgets[k];
    coverage.bins = coverage_bins(budgets[k]);
    coverage.tail_low = coverage.tail_high = cluster.size >= kTailRows ? options_.tail : 0;
    std::vector<int64_t> chosen;
    for (const int64_t j : sample_coverage(scores, coverage, random)) {
      chosen.push_back(with[static_cast<std::size_t>(j)]);
    }
    random.shuffle(without);
    for (std::size_t j = 0; std::ssize(chosen) < budgets[k]; ++j) {
      chosen.push_back(without.at(j));
    }
    for (const int64_t i : chosen) {
      Member& member = pool_[static_cast<std::size_t>(i)];
      member.picked_in = round_;
      member.state_changed = true;
      report.picks.push_back({member.sample.id, static_cast<int64_t>(k), cluster.expert,
                              member.scored.score(cluster.expert)});
    }
    report.clusters.push_back(std::move(cluster));
  }
  random.shuffle(report.picks);
  return report;
}

std::vector<Retirement> AdaptInf::prune() {
  ALLUVIUM_CHECK(!in_round_, "round {} is not finished", round_);
  return drop_alike(options_.capacity);
}

std::vector<Retirement> AdaptInf::drop_alike(int64_t capacity) {
  // Samples that came since the last round have no cluster and no sketch yet: they stay.
  std::vector<int64_t> judged;
  for (std::size_t i = 0; i < pool_.size(); ++i) {
    if (pool_[i].cluster >= 0) {
      judged.push_back(static_cast<int64_t>(i));
    }
  }
  if (judged.empty()) {
    return {};
  }
  // The copy worth keeping stands first: pinned, then picked, then the one that came first.
  std::stable_sort(judged.begin(), judged.end(), [this](int64_t a, int64_t b) {
    const Member& left = pool_[static_cast<std::size_t>(a)];
    const Member& right = pool_[static_cast<std::size_t>(b)];
    return std::pair(left.pinned, left.picked_in) > std::pair(right.pinned, right.picked_in);
  });
  std::vector<std::vector<int64_t>> members(static_cast<std::size_t>(centroids_.rows()));
  for (const int64_t i : judged) {
    members[static_cast<std::size_t>(pool_[static_cast<std::size_t>(i)].cluster)].push_back(i);
  }
  std::map<int64_t, std::string> retired;  // by place in the pool
  std::vector<std::vector<float>> similarities;
  std::vector<int64_t> sizes;
  for (const std::vector<int64_t>& rows : members) {
    RowMatrix vectors;
    for (const int64_t i : rows) {
      const Member& member = pool_[static_cast<std::size_t>(i)];
      vectors.append(embedder_ == nullptr ? member.scored.sketch : member.semantic);
    }
    similarities.push_back(similarity_to_earlier(vectors));
    int64_t unlike = 0;
    for (std::size_t j = 0; j < rows.size(); ++j) {
      const bool pinned = pool_[static_cast<std::size_t>(rows[j])].pinned;
      if (pinned) {
        similarities.back()[j] = 0;  // kept whatever it is like
      }
      unlike += similarities.back()[j] <= static_cast<float>(options_.semantic_duplicate) ? 1 : 0;
    }
    sizes.push_back(unlike);
  }
  const std::vector<int64_t> budgets = water_fill(sizes, capacity);
  for (std::size_t k = 0; k < members.size(); ++k) {
    const Kept kept = keep_least_similar(
        similarities[k], static_cast<float>(options_.semantic_duplicate), budgets[k]);
    for (const int64_t j : kept.duplicates) {
      retired[members[k][static_cast<std::size_t>(j)]] =
          fmt::format("cosine {:.4f} to an earlier sample of its cluster",
                      similarities[k][static_cast<std::size_t>(j)]);
    }
    for (const int64_t j : kept.over_budget) {
      const int64_t i = members[k][static_cast<std::size_t>(j)];
      if (!pool_[static_cast<std::size_t>(i)].pinned) {
        retired[i] = fmt::format("cluster {} keeps its {} least alike", k, budgets[k]);
      }
    }
  }
  std::vector<Retirement> report;
  std::vector<Member> left;
  places_.clear();
  for (std::size_t i = 0; i < pool_.size(); ++i) {
    if (const auto found = retired.find(static_cast<int64_t>(i)); found != retired.end()) {
      report.push_back({pool_[i].sample.id, found->second});
      leave(pool_[i], found->second);
    } else {
      places_.emplace(pool_[i].sample.id, left.size());
      left.push_back(std::move(pool_[i]));
    }
  }
  pool_ = std::move(left);
  return report;
}

int64_t AdaptInf::pending() const {
  return std::count_if(pool_.begin(), pool_.end(),
                       [](const Member& member) { return member.pending; });
}

void AdaptInf::leave(const Member& member, const std::string& reason) {
  if (member.is_kept) {
    left_.push_back({member.sample.id, reason});
  }
}

const Sample* AdaptInf::find(std::string_view id) const {
  const auto found = places_.find(id);
  return found == places_.end() ? nullptr : &pool_[found->second].sample;
}

const ScoredSample* AdaptInf::scores(std::string_view id) const {
  const auto found = places_.find(id);
  return found == places_.end() || pool_[found->second].scored_in == 0
             ? nullptr
             : &pool_[found->second].scored;
}

}  // namespace alluvium::selectors
