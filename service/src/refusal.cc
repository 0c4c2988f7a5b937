#include "alluvium/service/refusal.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ops/argmax.h>
#include <ATen/ops/logsumexp.h>

#include "alluvium/backbone/generation.h"
#include "alluvium/service/configuration.h"
#include "alluvium/service/readers.h"

namespace alluvium::service {
namespace {

using backbone::TokenId;

// With the shipped reader the second token follows the first with 99.3 % or more wherever that has 1 %, and the third the second with 99.99 %.
constexpr std::size_t kRefusalTokens = 2;
constexpr double kSurest = 20;
constexpr double kNothing = 1e-6;
// Of so small a first token, which is not the likeliest, what is no refusal is not missed.
constexpr double kUnlikelyBeginning = 0.2;
constexpr const char* kRefusal = "I do not find this in what I have read";

}  // namespace

std::vector<TokenId> refusal_beginning(const backbone::Tokenizer& tokenizer,
                                       const std::string& refusal) {
  std::vector<TokenId> tokens = tokenizer.encode(" " + refusal);
  tokens.resize(std::min(tokens.size(), kRefusalTokens));
  return tokens;
}

double odds_against_refusal(double log_probability) {
  const double p = std::min(std::exp(log_probability), 1 - 1e-12);
  return std::clamp(std::log1p(-p) - std::log(std::max(p, 1e-12)), -kSurest, kSurest);
}

double odds_against_refusal(const backbone::Decoder& decoder, backbone::KvCache& cache,
                            const at::Tensor& logits, std::span<const TokenId> refusal,
                            const backbone::Adapter* adapter, double unlikely) {
  if (refusal.empty()) {
    return 0;
  }
  double log_probability =
      backbone::token_log_probabilities(logits.unsqueeze(0), refusal.first(1)).front();
  if (refusal.size() > 1 && (log_probability >= std::log(unlikely) ||
                             at::argmax(logits).item<int64_t>() == refusal.front())) {
    const auto read = refusal.first(refusal.size() - 1);
    const backbone::ReadRequest request{&cache, read, backbone::Logits::all, false, false, adapter};
    const at::Tensor after = decoder.read({&request, 1}).front().logits;
    for (const double score : backbone::token_log_probabilities(after, refusal.subspan(1))) {
      log_probability += score;
    }
    const auto back = static_cast<int64_t>(read.size());
    cache.rewind(cache.slots() - back, cache.next_position() - back);
  }
  return odds_against_refusal(log_probability);
}

at::Tensor without_refusal(const at::Tensor& logits, TokenId first, double evidence) {
  at::Tensor others = logits.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  const double all = at::logsumexp(others, 0).item<double>();
  const double first_alone = std::exp(others[first].item<double>() - all);
  const double left = first_alone - 1 / (1 + std::exp(evidence));
  others[first] = left > kNothing ? all + std::log(left) : -std::numeric_limits<double>::infinity();
  return others;
}

bool declares_refusal(const LoadedReader* reader) {
  return reader != nullptr && reader->manifest.settings.count("no_answer") > 0;
}

std::string refusal_of(const LoadedReader& reader) {
  const auto found = reader.manifest.settings.find("no_answer");
  return found == reader.manifest.settings.end() ? kRefusal : found->second;
}

double refuse_above(const ReaderConfiguration& configured, const LoadedReader* reader) {
  if (!declares_refusal(reader)) {
    return 1;
  }
  if (configured.refuse_above >= 0) {
    return configured.refuse_above;
  }
  const auto own = reader->manifest.metrics.find("refuse_above");
  return own == reader->manifest.metrics.end() ? 0.5 : own->second;
}

RefusalRule::RefusalRule(const ReaderConfiguration& configured, const LoadedReader* reader,
                         const backbone::Tokenizer& tokenizer)
    : reader_(reader), above_(refuse_above(configured, reader)) {
  if (declares_refusal(reader)) {
    beginning_ = refusal_beginning(tokenizer, refusal_of(*reader));
  }
}

double RefusalRule::weigh(const backbone::Decoder& decoder, backbone::KvCache& cache,
                          const at::Tensor& logits) const {
  return odds_against_refusal(decoder, cache, logits, beginning_,
                              reader_ != nullptr ? reader_->adapter.get() : nullptr,
                              std::min(kUnlikelyBeginning, above_));
}

double RefusalRule::probability(double evidence) { return 1 / (1 + std::exp(evidence)); }

at::Tensor RefusalRule::answering(const at::Tensor& logits, double evidence) const {
  return beginning_.empty() ? logits : without_refusal(logits, beginning_.front(), evidence);
}

}  // namespace alluvium::service
