// Text from a decoder: greedy or sampled, streamed, stoppable.
//
// Source : nucleus sampling (top-p), Holtzman et al., 2020.
// Threads: generate() uses the caller's thread; the callback runs on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/tokenizer.h"

namespace alluvium::backbone {

struct GenerationOptions {
  int64_t max_tokens = 32;   ///< new tokens at most
  double temperature = 0.0;  ///< 0 = greedy
  double top_p = 1.0;        ///< smallest set of tokens with this probability; 1 = all
  uint64_t seed = 0;         ///< of the sampler; the same seed gives the same text
  /// Generation ends before the first of these; it is not part of the text
  std::vector<std::string> stop;
  std::vector<TokenId> stop_tokens;  ///< generation ends at any of these
  const Adapter* adapter = nullptr;  ///< acts on prompt and answer; null = the bare decoder
  /// Tokens of a text that what is generated may quote, alive during the call: what follows its last
  /// tokens there is read ahead in one pass and kept as far as it is what would have been picked
  /// (Yang et al., 2023, "Inference with Reference"). Changes nothing but the number of passes, up to
  /// the rounding between a read of one row and one of several.
  std::span<const TokenId> reference;
  /// Tokens of the question, say: of several places in the reference that fit equally, the one with
  /// most of these about it is read on from.
  std::span<const TokenId> topic;
  int64_t read_ahead = 4;  ///< tokens of it a pass at most; 0 = one token a pass
};

enum class FinishReason { stop, length, cancelled };

const char* to_string(FinishReason reason);

struct Generation {
  /// log_probability / scored_tokens; 0 when nothing was generated.
  double mean_log_probability() const {
    return scored_tokens > 0 ? log_probability / static_cast<double>(scored_tokens) : 0;
  }

  std::string text;             ///< valid UTF-8
  std::vector<TokenId> tokens;  ///< without the stop token
  double log_probability = 0;  ///< natural log, summed over the tokens (and the stop token when one
                               ///< ended it), under the model's own distribution (temperature 1)
  int64_t scored_tokens = 0;   ///< tokens that log_probability is the sum over
  FinishReason finish = FinishReason::length;
  double first_token_ms = 0;  ///< from the call to the first token
  double total_ms = 0;
  int64_t prompt_tokens = 0;
  int64_t passes = 0;      ///< reads of the decoder after the one that gave the first token
  int64_t read_ahead = 0;  ///< tokens of the reference read in them
  int64_t kept_ahead = 0;  ///< of these, picked
};

/// Receives each new piece of valid UTF-8 text; returns false to cancel.
using TextCallback = std::function<bool(std::string_view piece)>;

/// Reads `prompt` (at least one token) after what `cache` holds and generates. The cache must have
/// room for prompt and max_tokens. Throws InvalidArgument on options outside their ranges
/// (temperature >= 0, 0 < top_p <= 1, max_tokens >= 0, read_ahead >= 0).
Generation generate(const Decoder& decoder, const Tokenizer& tokenizer, KvCache& cache,
                    std::span<const TokenId> prompt, const GenerationOptions& options,
                    const TextCallback& on_text = nullptr);

/// Goes on after what `cache` holds, whose last token gave `logits`: float32 [vocabulary], as read()
/// returns them. The cache must have room for max_tokens. first_token_ms and total_ms count from
/// this call. Throws as above.
Generation generate_after(const Decoder& decoder, const Tokenizer& tokenizer, KvCache& cache,
                          const at::Tensor& logits, const GenerationOptions& options,
                          const TextCallback& on_text = nullptr);

/// Natural-log probability of tokens[i] by row i of `logits`: float32 [tokens, vocabulary], on any
/// device.
std::vector<double> token_log_probabilities(const at::Tensor& logits,
                                            std::span<const TokenId> tokens);

/// Natural-log probability of each of `tokens` given what `cache` holds and the tokens before it,
/// reading them after `prompt`; `adapter` (may be null) acts on all of them. Returns tokens.size()
/// values.
std::vector<double> score_tokens(const Decoder& decoder, KvCache& cache,
                                 std::span<const TokenId> prompt, std::span<const TokenId> tokens,
                                 const Adapter* adapter = nullptr);

}  // namespace alluvium::backbone
