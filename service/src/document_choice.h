// Which of several candidate documents an answer is read from.
//
// Purpose: documents attended to side by side disturb each other (docs/ARCHITECTURE.md, "Several documents"). Here each candidate's memory
//          stays exact: the question is read over every one of them, in a batch, and how likely it is there says where it fits. No text
//          is read; the cost is the question's tokens and the first few of a refusal for each candidate.
// Source : question likelihood: Sachan et al., "Improving Passage Retrieval with Zero-Shot Question Generation", EMNLP 2022; evidence is the
//          odds against the reader's own refusal (docs/adr/0006).
// Threads: functions of their arguments; caches belong to the calling thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/decoder.h"

namespace alluvium::service {

/// One document that may hold the answer.
struct Candidate {
  backbone::KvCache cache;     ///< its memory, with room for the question and the refusal
  double retrieval_score = 0;  ///< as a Citation has it

  /// Natural log-probability of the question's tokens but the first, over this memory
  double question_log_probability = 0;
  /// Natural log of the odds that the reader does not refuse; in [-20, 20], 0 without a refusal
  double evidence = 0;
  double weight = 0;  ///< probability that this is the right one; all sum to 1
  at::Tensor logits;  ///< float32 [vocabulary], after the question
};

/// What a candidate's figures count. These are fitted for the bare default decoder (experiments/results/README.md).
struct ChoiceWeights {
  double retrieval = 8;    ///< of the retrieval score as a share of the highest
  double question = 0.75;  ///< of the question's log-probability
  double evidence = 0;
};

/// What every candidate is asked.
struct ChoiceQuestion {
  std::span<const backbone::TokenId> tokens;   ///< at least one
  std::span<const backbone::TokenId> refusal;  ///< how a refusal begins; empty when there is none
  const backbone::Adapter* adapter = nullptr;  ///< null = the bare decoder
};

/// Reads the question over every candidate, fills in their figures and leaves each cache after the question's last token, as the adapter
/// read it. weight is a softmax over `weights` times the figures. Returns the index of the highest weight; ties go to the first. Throws
/// InvalidArgument when there is no candidate.
std::size_t choose_document(const backbone::Decoder& decoder, std::span<Candidate> candidates,
                            const ChoiceQuestion& question, const ChoiceWeights& weights);

}  // namespace alluvium::service
