// What decides which samples are worth learning from: samples in; scores, reasons and retirements out.
//
// Purpose: one interface for batches and streams. A selector only scores; who is picked is decided by ranking.h, so every selector serves
//          the best K, a token budget and a running quantile alike.
// Source : the methods name theirs. The two-stage form (cheap score for all, exact score for survivors) is ours.
// Threads: a Selector is owned by one thread; score() and refine() use SelectorOptions::threads workers inside, and no bit of a score
//          depends on their number.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/core/registry.h"
#include "alluvium/selectors/text_embedder.h"

namespace alluvium::selectors {

/// One row of a pool.
struct Sample {
  std::string id;
  std::string text;     ///< valid UTF-8
  int64_t arrival = 0;  ///< 0-based place in the pool; breaks ties, seeds random selectors

  // What a model would learn from the row (adapt_inf, less). All empty: the text itself, its second half given its first.
  std::string document = {};  ///< that the answer may lean on; may be empty
  std::string prompt = {};
  std::string answer = {};

  bool is_plain_text() const { return document.empty() && prompt.empty() && answer.empty(); }
};

/// What the picks should be like. Immutable once given to a selector; scores of two versions are never ranked together.
struct TargetSet {
  int64_t version = 1;
  std::vector<std::string> texts;  ///< none of them empty
  /// The same rows with what a model would learn from them (less); empty: plain texts
  std::vector<Sample> samples = {};
};

/// Throws InvalidArgument when there is no target or one of them is empty.
void validate_targets(const TargetSet& targets);

enum class Verdict {
  rank,    ///< may be picked
  refuse,  ///< cannot be judged (too short, say); the reason says why
  retire,  ///< known already: need not be kept in the pool
};

struct Score {
  double value = 0;  ///< higher is better; finite. Meaning and range are the selector's
  Verdict verdict = Verdict::rank;
  std::string reason;  ///< of refuse and retire; empty otherwise
};

class GradientScorer;

class Selector {
 public:
  virtual ~Selector() = default;

  /// Name, mode and compressor, e.g. "zip_fit/two_stage gzip-6"; stands beside every score.
  virtual std::string label() const = 0;

  virtual bool needs_targets() const { return true; }

  /// A new snapshot of targets: everything derived from the old one is rebuilt. Throws InvalidArgument as validate_targets().
  virtual void set_targets(std::shared_ptr<const TargetSet> targets) = 0;

  /// Whether score() depends on statistics of the pool, gathered by observe(). A batch runs observe() over the whole pool before the first
  /// score(); a stream observes each part just before it scores it.
  virtual bool observes() const { return false; }
  virtual void observe(std::span<const Sample>) {}

  /// Whether no score can be given before the whole pool was observed, as a stream would need.
  virtual bool needs_whole_pool() const { return false; }

  /// Called once between the last observe() and the first score() of a batch.
  virtual void end_observing() {}

  /// One score a sample, in order.
  virtual std::vector<Score> score(std::span<const Sample> samples) = 0;

  /// How many candidates must survive score() for each pick, so that refine() sees the true best; 1 = score() is final.
  virtual int64_t survivors_per_pick() const { return 1; }

  /// The final scores of survivors; score() itself where that is final.
  virtual std::vector<Score> refine(std::span<const Sample> samples) { return score(samples); }

  /// Why a sample got its score, in one line for people.
  virtual std::string explain(const Sample& sample, double score) = 0;

  /// Everything learned from samples so far, to go on after a restart with the same options and targets. Empty where nothing is.
  virtual std::string save() const { return {}; }

  /// Throws DataCorruption when `state` is not a save() of this selector.
  virtual void restore(std::string_view state);
};

/// How a text too short, too long or of another length than the targets is handled (zip_fit).
struct LengthOptions {
  /// Texts with fewer bytes are refused; -1 = 200, or a quarter of the targets' median length where that is less.
  int64_t min_bytes = -1;
  /// Longer texts are cut into even pieces of at most this many bytes; 0 = never, -1 = the targets' median length, at least 256.
  int64_t chunk_bytes = -1;
  enum class Join { mean, best } join = Join::mean;  ///< document score from its pieces' scores
};

struct SelectorOptions {
  int64_t threads = 1;  ///< at least 1
  uint64_t seed = 0;

  // zip_fit
  std::string mode = "two_stage";  ///< ref, cond, pool, two_stage
  std::string compressor =
      "gzip";             ///< of ref: gzip, lz4, zstd; of pool: gzip, lz4; the other modes are gzip
  int64_t level = 6;      ///< gzip 1 to 9, zstd 1 to 22; lz4 has none
  int64_t survivors = 6;  ///< of two_stage: candidates kept a pick
  bool size_only = true;  ///< count the bytes instead of writing them; the same numbers
  LengthOptions length;

  // length_matched_random, adapt_inf
  int64_t picks =
      0;  ///< how many will be picked: the size of the selection whose lengths are matched

  // dsir
  int64_t dsir_min_tokens = 100;  ///< shorter texts are refused, as in the reference
  bool dsir_sample = true;        ///< Gumbel noise: sampling without replacement; false = top k
  double dsir_smoothing = 0;      ///< pseudo-count of the target

  // dedupe, d4
  double duplicate_threshold = 0.8;  ///< estimated Jaccard similarity of word 5-grams

  // dedupe
  int64_t dedupe_capacity = 262'144;  ///< texts remembered; the oldest is forgotten first
  /// Cosine of embeddings above which a text is a copy too; in (0, 1], 0 = embeddings are not asked for
  double dedupe_semantic = 0;

  // embedding, d4, dedupe with dedupe_semantic; of adapt_inf its duplicates, where given
  std::shared_ptr<const TextEmbedder> embedder;

  // adapt_inf, less: gradients of the decoder
  std::shared_ptr<GradientScorer> gradients;

  // adapt_inf, d4
  int64_t clusters = 0;              ///< 0 = the knee of the distances' sum
  double semantic_duplicate = 0.98;  ///< cosine above which a row is a copy; in (0, 1]

  // d4
  double d4_kept = 0.75;  ///< share of the rows that survive SemDeDup; in (0, 1]
};

using SelectorRegistry = Registry<Selector, const SelectorOptions&>;

/// adapt_inf, bm25, d4, dedupe, dsir, embedding, length_matched_random, less, random, zip_fit. A factory throws InvalidArgument naming the
/// option and its bound, NotSupported when `embedding`, `d4` or dedupe_semantic gets no embedder, `adapt_inf` or `less` no gradients.
void register_selectors(SelectorRegistry& registry);

}  // namespace alluvium::selectors
