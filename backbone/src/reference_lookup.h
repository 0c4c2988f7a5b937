// Guesses what is generated next: what follows the last tokens in a text that may be quoted.
//
// Source : inference with reference (Yang et al., 2023), prompt lookup decoding (Saxena, 2023).
// Differs: they take the first place that fits. A word that begins an answer stands in many places;
//          answers stand near the question's words, and so of places that fit equally the one is taken
//          that has most of them about it, rare ones counting more.
// Threads: const; one object may serve many.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "alluvium/backbone/tokenizer.h"

namespace alluvium::backbone {

class ReferenceLookup {
 public:
  /// Refers to `reference`, which must outlive this. `topic` may be empty.
  ReferenceLookup(std::span<const TokenId> reference, std::span<const TokenId> topic);

  /// The at most `limit` tokens that follow the longest end of `generated` found in the reference
  /// (of kLongestEnd tokens at most), the first such place if several are equally near to the topic.
  /// Empty when not even the last token is there, or nothing was generated.
  std::span<const TokenId> follow(std::span<const TokenId> generated, int64_t limit) const;

  static constexpr std::size_t kLongestEnd = 8;
  static constexpr std::size_t kNear = 12;  ///< tokens on either side that count as near

 private:
  /// What the topic weighs about the token at `place`, itself left out.
  double weight_about(std::size_t place) const;

  std::span<const TokenId> reference_;
  /// [i]: weight of the topic in the first i tokens, each occurrence 1 / occurrences.
  std::vector<double> weight_before_;
};

}  // namespace alluvium::backbone
