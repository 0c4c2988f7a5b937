#include "alluvium/backbone/generation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/ops/gather.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tensor.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/core/utf8.h"
#include "reference_lookup.h"

namespace alluvium::backbone {
namespace {

void validate(const GenerationOptions& options) {
  ALLUVIUM_CHECK(options.max_tokens >= 0, "max_tokens must not be negative, got {}",
                 options.max_tokens);
  ALLUVIUM_CHECK(options.temperature >= 0 && std::isfinite(options.temperature),
                 "temperature must be finite and not negative, got {}", options.temperature);
  ALLUVIUM_CHECK(options.top_p > 0 && options.top_p <= 1, "top_p must lie in (0, 1], got {}",
                 options.top_p);
  ALLUVIUM_CHECK(options.read_ahead >= 0, "read_ahead must not be negative, got {}",
                 options.read_ahead);
}

// ln sum exp of the logits, in double.
double log_sum_exp(std::span<const float> logits) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit - highest));
  }
  return static_cast<double>(highest) + std::log(sum);
}

TokenId pick_greedy(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

TokenId pick_sampled(std::span<const float> logits, const GenerationOptions& options,
                     Random& random) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  const float highest = logits[order.front()];
  std::vector<double> weights;
  double total = 0;
  for (const TokenId token : order) {
    weights.push_back(std::exp(static_cast<double>(logits[token] - highest) / options.temperature));
    total += weights.back();
  }
  double nucleus = 0;
  std::size_t kept = 0;
  while (kept < weights.size() && (kept == 0 || nucleus < options.top_p * total)) {
    nucleus += weights[kept++];
  }
  double target = random.uniform() * nucleus;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    target -= weights[i];
    if (target < 0) {
      return order[i];
    }
  }
  return order[kept - 1];
}

// The text generated so far and how much of it the callback has: bytes that may still become part
// of a stop string or of an unfinished UTF-8 sequence are held back.
class TextStream {
 public:
  TextStream(const std::vector<std::string>& stop, const TextCallback& on_text)
      : stop_(stop), on_text_(on_text) {}

  // Appends a token's bytes. True when a stop string is complete; the text then ends before it.
  bool append(const std::string& bytes) {
    text_ += bytes;
    std::size_t first = std::string::npos;
    for (const std::string& stop : stop_) {
      if (!stop.empty()) {
        first = std::min(first, text_.find(stop));
      }
    }
    if (first == std::string::npos) {
      return false;
    }
    text_.resize(first);
    return true;
  }

  // Sends what is certain; false when the callback cancels.
  bool flush() { return send(certain_bytes()); }
  bool finish() { return send(text_.size()); }

  std::string take() { return replace_invalid_utf8(text_); }

 private:
  std::size_t certain_bytes() const {
    std::size_t certain = complete_utf8_prefix(text_);
    for (const std::string& stop : stop_) {
      for (std::size_t length = std::min(stop.size(), text_.size()); length > 0; --length) {
        if (text_.compare(text_.size() - length, length, stop, 0, length) == 0) {
          certain = std::min(certain, text_.size() - length);
          break;
        }
      }
    }
    return certain;
  }

  bool send(std::size_t until) {
    if (!on_text_ || until <= sent_) {
      return true;
    }
    const std::string piece = replace_invalid_utf8(text_.substr(sent_, until - sent_));
    sent_ = until;
    return on_text_(piece);
  }

  const std::vector<std::string>& stop_;
  const TextCallback& on_text_;
  std::string text_;
  std::size_t sent_ = 0;
};

std::span<const float> as_span(const at::Tensor& host) {
  return {host.const_data_ptr<float>(), static_cast<std::size_t>(host.numel())};
}

}  // namespace

const char* to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "unknown";
}

Generation generate(const Decoder& decoder, const Tokenizer& tokenizer, KvCache& cache,
                    std::span<const TokenId> prompt, const GenerationOptions& options,
                    const TextCallback& on_text) {
  ALLUVIUM_CHECK(!prompt.empty(), "the prompt must hold at least one token");
  validate(options);
  const Stopwatch watch;
  const ReadRequest request{&cache, prompt, Logits::last, false, false, options.adapter};
  const at::Tensor logits = decoder.read({&request, 1}).front().logits;
  const double prompt_ms = watch.elapsed_ms();
  Generation generation = generate_after(decoder, tokenizer, cache, logits, options, on_text);
  generation.prompt_tokens = static_cast<int64_t>(prompt.size());
  generation.first_token_ms += generation.scored_tokens > 0 ? prompt_ms : 0;
  generation.total_ms += prompt_ms;
  return generation;
}

Generation generate_after(const Decoder& decoder, const Tokenizer& tokenizer, KvCache& cache,
                          const at::Tensor& first_logits, const GenerationOptions& options,
                          const TextCallback& on_text) {
  validate(options);
  const Stopwatch watch;
  Random random(options.seed);
  TextStream stream(options.stop, on_text);
  const ReferenceLookup reference(options.reference, options.topic);
  const int64_t most_ahead = std::min(options.read_ahead, decoder.cheap_rows() - 1);
  Generation generation;
  // Takes the token that `logits` give; true when it was the last.
  const auto take = [&](std::span<const float> logits) {
    const TokenId token =
        options.temperature == 0 ? pick_greedy(logits) : pick_sampled(logits, options, random);
    generation.log_probability += static_cast<double>(logits[token]) - log_sum_exp(logits);
    ++generation.scored_tokens;
    if (generation.scored_tokens == 1) {
      generation.first_token_ms = watch.elapsed_ms();
    }
    if (std::find(options.stop_tokens.begin(), options.stop_tokens.end(), token) !=
        options.stop_tokens.end()) {
      generation.finish = FinishReason::stop;
      return true;
    }
    generation.tokens.push_back(token);
    if (stream.append(tokenizer.decode({&token, 1}))) {
      generation.finish = FinishReason::stop;
      return true;
    }
    if (!stream.flush()) {
      generation.finish = FinishReason::cancelled;
      return true;
    }
    return static_cast<int64_t>(generation.tokens.size()) == options.max_tokens;
  };
  bool done = options.max_tokens == 0 || take(as_span(first_logits.cpu()));
  while (!done) {
    const auto so_far = static_cast<int64_t>(generation.tokens.size());
    const std::span<const TokenId> ahead =
        reference.follow(generation.tokens, std::min(most_ahead, options.max_tokens - so_far - 1));
    std::vector<TokenId> tokens = {generation.tokens.back()};
    tokens.insert(tokens.end(), ahead.begin(), ahead.end());
    const int64_t slots = cache.slots();
    const int64_t position = cache.next_position();
    const ReadRequest request{&cache, tokens, Logits::all, false, false, options.adapter};
    const at::Tensor rows = decoder.read({&request, 1}).front().logits.cpu();
    ++generation.passes;
    generation.read_ahead += static_cast<int64_t>(ahead.size());
    // A row counts if the token it stands on is the one that was picked.
    std::size_t read = 0;
    do {
      done = take(as_span(rows[static_cast<int64_t>(read)]));
      ++read;
    } while (!done && read < tokens.size() && tokens[read] == generation.tokens.back());
    generation.kept_ahead += static_cast<int64_t>(read) - 1;
    cache.rewind(slots + static_cast<int64_t>(read), position + static_cast<int64_t>(read));
  }
  if (generation.finish != FinishReason::cancelled && !stream.finish()) {
    generation.finish = FinishReason::cancelled;
  }
  generation.text = stream.take();
  generation.total_ms = watch.elapsed_ms();
  return generation;
}

std::vector<double> token_log_probabilities(const at::Tensor& logits,
                                            std::span<const TokenId> tokens) {
  if (tokens.empty()) {
    return {};
  }
  const std::vector<int64_t> wanted(tokens.begin(), tokens.end());
  const at::Tensor index = at::tensor(wanted).unsqueeze(1).to(logits.device());
  const at::Tensor scores =
      at::sub(at::gather(logits, 1, index).squeeze(1), at::logsumexp(logits, 1)).cpu().contiguous();
  const auto* values = scores.const_data_ptr<float>();
  return {values, values + tokens.size()};
}

std::vector<double> score_tokens(const Decoder& decoder, KvCache& cache,
                                 std::span<const TokenId> prompt, std::span<const TokenId> tokens,
                                 const Adapter* adapter) {
  ALLUVIUM_CHECK(!prompt.empty(), "the prompt must hold at least one token");
  if (tokens.empty()) {
    return {};
  }
  std::vector<TokenId> all(prompt.begin(), prompt.end());
  all.insert(all.end(), tokens.begin(), tokens.end() - 1);
  const ReadRequest request{&cache, all, Logits::all, false, false, adapter};
  const at::Tensor logits = decoder.read({&request, 1}).front().logits;
  return token_log_probabilities(logits.narrow(0, static_cast<int64_t>(prompt.size()) - 1,
                                               static_cast<int64_t>(tokens.size())),
                                 tokens);
}

}  // namespace alluvium::backbone
