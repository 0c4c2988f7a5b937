// Samples as token sequences with a scored part, packed for one forward pass.
//
// Threads: pure functions; a pack belongs to the calling thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/tokenizer.h"
#include "alluvium/selectors/selector.h"

namespace alluvium::experiments {

struct EncodedSample {
  std::vector<backbone::TokenId> tokens;  ///< the first is <|endoftext|>
  int64_t scored_from = 1;
};

/// Plain text is scored whole and cut at its end; of other samples the answer is scored, and the document is cut at its start so that all
/// of it fits `max_tokens`.
EncodedSample encode_sample(const backbone::Tokenizer& tokenizer, const selectors::Sample& sample,
                            int64_t max_tokens);

/// Sequences over an empty context each, so that no attention is computed between samples. The samples must outlive it.
struct PackedSamples {
  PackedSamples(const backbone::Decoder& decoder, std::span<const EncodedSample* const> samples);

  std::vector<backbone::KvCache> contexts;
  std::vector<backbone::ScoredSequence> sequences;
};

}  // namespace alluvium::experiments
