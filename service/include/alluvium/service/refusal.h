// What a reader says where the documents hold no answer, and how near it is to saying so.
//
// Purpose: a reader trained on withheld documents puts probability on its refusal (docs/adr/0006) long before the refusal is its likeliest
//          answer. That probability, known before the first token, decides whether to answer at all, which document to answer from, and
//          how sure an answer is. The decision is the threshold's alone: below it an answer is given even where the refusal is likeliest.
// Source : unanswerable questions of SQuAD 2.0, Rajpurkar et al., 2018, section 5 (a threshold on the no-answer score).
// Threads: functions of their arguments; a cache belongs to the calling thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/tokenizer.h"

namespace alluvium::service {

struct LoadedReader;
struct ReaderConfiguration;

/// How a refusal begins after a question: so many tokens tell it from an answer that begins with the same word.
std::vector<backbone::TokenId> refusal_beginning(const backbone::Tokenizer& tokenizer,
                                                 const std::string& refusal);

/// Natural log of the odds against a refusal of this log-probability; in [-20, 20].
double odds_against_refusal(double log_probability);

/// The same over a cache that stands after a question, whose next token has `logits` (float32 [vocabulary]). Where the refusal's first
/// token is less probable than `unlikely` and not the likeliest the others are not read, which costs a pass over the weights, and the odds
/// are those against it alone. The cache comes back as it was; it must have room for the refusal. 0 for an empty refusal.
double odds_against_refusal(const backbone::Decoder& decoder, backbone::KvCache& cache,
                            const at::Tensor& logits, std::span<const backbone::TokenId> refusal,
                            const backbone::Adapter* adapter, double unlikely = 0.01);

/// What comes next given that it is not the refusal: `logits` (float32 [vocabulary]) with the refusal's share taken from its first token.
/// A tensor of its own on the CPU.
at::Tensor without_refusal(const at::Tensor& logits, backbone::TokenId first, double evidence);

/// Whether it was taught to say that the documents have no answer. Null, the bare decoder, was not.
bool declares_refusal(const LoadedReader* reader);

/// What it says then.
std::string refusal_of(const LoadedReader& reader);

/// The probability of refusing above which nothing is answered: the configured one, or the reader's own, or one half where it brings none;
/// 1 where no refusal was taught.
double refuse_above(const ReaderConfiguration& configured, const LoadedReader* reader);

/// Whether one reader answers a question at all. A reader that declares no refusal, or null, always does.
class RefusalRule {
 public:
  /// Refers to `reader` (may be null), which must outlive this.
  RefusalRule(const ReaderConfiguration& configured, const LoadedReader* reader,
              const backbone::Tokenizer& tokenizer);

  /// What weigh() reads at most, for which the cache needs room beside question and answer.
  const std::vector<backbone::TokenId>& beginning() const { return beginning_; }

  /// Log-odds against a refusal over a cache that stands after a question, whose next token has `logits`. What cannot come to refusing is
  /// not read on for: half of all questions give the refusal's first token 1 %, and that would be the dearest part of asking with a reader.
  double weigh(const backbone::Decoder& decoder, backbone::KvCache& cache,
               const at::Tensor& logits) const;

  /// Probability of refusing at these log-odds: 1 / (1 + exp(evidence)).
  static double probability(double evidence);

  bool refuses(double evidence) const { return probability(evidence) > above_; }

  /// The logits of an answer that is given: without the refusal's share.
  at::Tensor answering(const at::Tensor& logits, double evidence) const;

 private:
  const LoadedReader* reader_;
  std::vector<backbone::TokenId> beginning_;  // empty: never refuses
  double above_;
};

}  // namespace alluvium::service
