// Adapt-inf: which samples of everything that ever came are worth the next step of training.
//
// Purpose: one round is add() -> begin_round() -> score_next() until nothing is left -> finish_round() -> (training) -> prune(). The costly part
//          goes in pieces, and save() between any two of them keeps all of it: a round that was interrupted goes on.
// Source : Maharana, Yoon, Chen, Bansal, "Adapt-inf: Scalable Continual Multimodal Instruction Tuning via Dynamic Data Selection", ICLR 2025.
// Differs: only a share of the old samples is scored anew each round (the reference scores the whole pool); exact budgets; entropies without a
//          unit; duplicates leave by a threshold before a budget is applied; everything is seeded. Sketches are kept in float32.
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/selectors/gradient_scorer.h"
#include "alluvium/selectors/row_matrix.h"
#include "alluvium/selectors/text_embedder.h"

namespace alluvium::selectors {

struct AdaptInfOptions {
  int64_t clusters =
      0;  ///< 0 = by the knee rule, again when the pool has changed by more than a quarter
  /// Scores that may be chosen in a cluster; one is a candidate where 95 % of the cluster's samples have it
  std::vector<Expert> experts = {Expert::nll,    Expert::el2n,    Expert::entropy,
                                 Expert::dg_ctx, Expert::dg_self, Expert::dg_mem};
  double tail =
      0.05;  ///< lowest and highest share of a cluster of 100 or more drawn last; in [0, 0.5)
  double semantic_duplicate = 0.98;  ///< cosine above which a sample is a copy; in (0, 1]
  int64_t capacity = 20'000;         ///< samples kept by prune(); at least 1
  double refresh_share =
      0.25;  ///< of the pool scored anew each round at most, beside new and last picked samples; in [0, 1]
  int64_t refresh_rounds = 4;  ///< a score older than this is stale; at least 1
  uint64_t seed = 0;
};

/// What happened in one cluster of a round.
struct ClusterReport {
  int64_t size = 0;
  int64_t budget = 0;
  Expert expert = Expert::nll;
  std::map<Expert, double> entropies;  ///< bits, of the candidates
  std::string first;                   ///< id of its first and last sample
  std::string last;
};

struct Pick {
  std::string id;
  int64_t cluster = 0;
  Expert expert = Expert::nll;
  double score = 0;  ///< by that expert
};

struct Excluded {
  std::string id;
  std::string reason;
};

struct Retirement {
  std::string id;
  std::string reason;
};

struct RoundReport {
  int64_t round = 0;
  std::vector<Pick> picks;         ///< in training order: shuffled by the seed
  std::vector<Excluded> excluded;  ///< of this round's scoring; they leave the pool
  /// Near copies, which left the pool before budgets were shared out: a flood of one text gets no cluster's share
  std::vector<Retirement> copies;
  std::vector<ClusterReport> clusters;
  int64_t scored = 0;
  int64_t pool = 0;
};

/// A sample of the pool as it is kept outside: what was learned about it in bytes of this class's own.
struct KeptSample {
  Sample sample;
  std::string state;     ///< of the rounds; changes often
  std::string features;  ///< scores and vectors; changes when it is scored
};

/// What has changed since it was last asked for.
struct RoundChanges {
  struct Change {
    std::string id;
    std::string state;
    std::optional<std::string> features;  ///< nothing: as they were
  };
  std::string head;  ///< of the pool as a whole
  std::vector<KeptSample> added;
  std::vector<Change> changed;
  std::vector<Retirement> retired;  ///< excluded, copies and pruned
};

class AdaptInf {
 public:
  /// `embedder` judges duplicates; null = the sketches do. Referenced objects must outlive this one. Throws InvalidArgument on options
  /// outside their bounds.
  AdaptInf(const AdaptInfOptions& options, GradientScorer& scorer, const TextEmbedder* embedder);

  /// Another state of the model from the next scoring on; sketches made before stay until they are refreshed, as their age says.
  void set_scorer(GradientScorer& scorer) { scorer_ = &scorer; }

  /// New samples; they are scored in the next round. Throws InvalidArgument on an id that is in the pool.
  void add(std::span<const Sample> samples);

  /// Pinned samples (error memories) are not pruned. Ids that are not in the pool are passed by.
  void pin(std::span<const std::string> ids);

  /// Decides what is scored: new, picked last time, and a random part of what is stale. Throws InvalidArgument during a round.
  void begin_round();

  /// Scores up to `most` of them; what is left. Throws InvalidArgument outside a round or when most < 1.
  int64_t score_next(int64_t most);

  /// Clusters, copies, experts, budgets, picks: min(budget, what is left of the pool) of them. Throws InvalidArgument while something is left to score.
  RoundReport finish_round(int64_t budget);

  /// Drops near copies, then shrinks the pool to its capacity, large clusters first. Nothing before the first round.
  std::vector<Retirement> prune();

  bool in_round() const { return in_round_; }
  int64_t round() const {
    return round_;
  }  ///< the one in progress, else the last; 0 before the first
  /// Samples of the round in progress that are still to be scored.
  int64_t pending() const;

  int64_t pool_size() const { return static_cast<int64_t>(pool_.size()); }
  /// Null when no such sample is in the pool.
  const Sample* find(std::string_view id) const;
  /// The last scores of a sample; null before it was scored or when it is not in the pool.
  const ScoredSample* scores(std::string_view id) const;

  /// Everything, a begun round included. restore() throws DataCorruption when `state` is not a save() under the same options and dimension.
  std::string save() const;
  void restore(std::string_view state);

  /// The same piece by piece, for a log that is written as the round goes: what add(), score_next(), finish_round() and prune() did since the
  /// last call. A sample that came and went in between is in neither `added` nor `changed`.
  RoundChanges take_changes();

  /// Goes on from the head and the samples that take_changes() told of, in order of arrival. An empty head is a new pool. Throws as restore().
  void restore(std::string_view head, std::span<const KeptSample> samples);

 private:
  struct Member {
    Sample sample;
    ScoredSample scored;          // the sketch is of length 1
    std::vector<float> semantic;  // the embedder's, of length 1; empty without one
    int64_t scored_in = 0;        // round; 0 = not yet
    int64_t picked_in = 0;        // round; 0 = never
    int64_t cluster = -1;         // of the last round
    bool pinned = false;
    bool pending = false;

    bool is_kept = false;  // take_changes() has told of it; the next two are about since then
    bool state_changed = true;
    bool features_changed = true;
  };

  std::string identity() const;
  std::string head() const;
  static std::string state_of(const Member& member);
  static std::string features_of(const Member& member);
  static Member member_from(const KeptSample& kept);
  void leave(const Member& member, const std::string& reason);
  RowMatrix sketches() const;
  void cluster_pool();
  void embed(std::span<const std::size_t> places);
  std::vector<Retirement> drop_alike(int64_t capacity);
  Expert choose_expert(const std::vector<int64_t>& members, ClusterReport& report) const;

  AdaptInfOptions options_;
  GradientScorer* scorer_;
  const TextEmbedder* embedder_;
  std::vector<Member> pool_;  // in order of arrival
  std::map<std::string, std::size_t, std::less<>> places_;
  RowMatrix centroids_;
  int64_t chosen_clusters_ = 0;
  int64_t chosen_at_ = 0;  // pool size when the number of clusters was chosen
  int64_t round_ = 0;
  bool in_round_ = false;
  int64_t scored_ = 0;  // in this round
  std::vector<Excluded> excluded_;
  std::vector<Retirement> left_;  // since take_changes(), of those it has told of
};

}  // namespace alluvium::selectors
