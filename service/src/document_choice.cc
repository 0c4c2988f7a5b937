#include "document_choice.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include <ATen/ops/gather.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/tensor.h>

#include "alluvium/core/error.h"

namespace alluvium::service {
namespace {

using backbone::TokenId;

// Logits of so many rows are in memory at once: about 100 MB with the default vocabulary.
constexpr int64_t kRowsAtOnce = 512;

constexpr double kSurest = 20;

/// ln p of tokens[i + 1] after tokens[i], from logits [tokens, vocabulary].
std::vector<double> following_log_probabilities(const at::Tensor& logits,
                                                std::span<const TokenId> tokens) {
  const auto rows = static_cast<int64_t>(tokens.size()) - 1;
  if (rows == 0) {
    return {};
  }
  std::vector<int64_t> next(tokens.begin() + 1, tokens.end());
  const at::Tensor head = logits.narrow(0, 0, rows);
  const at::Tensor index = at::tensor(next).unsqueeze(1).to(logits.device());
  const at::Tensor scores =
      at::sub(at::gather(head, 1, index).squeeze(1), at::logsumexp(head, 1)).cpu().contiguous();
  const auto* values = scores.const_data_ptr<float>();
  return {values, values + rows};
}

double log_odds_against(double log_probability) {
  const double p = std::min(std::exp(log_probability), 1 - 1e-12);
  return std::clamp(std::log1p(-p) - std::log(std::max(p, 1e-12)), -kSurest, kSurest);
}

using Handler = std::function<void(Candidate&, const backbone::ReadResult&)>;

/// Reads `tokens` over every candidate, hands on all their logits and takes the last `forgotten` tokens out of the caches again.
void read_over(const backbone::Decoder& decoder, std::span<Candidate> candidates,
               std::span<const TokenId> tokens, const backbone::Adapter* adapter,
               std::size_t forgotten, const Handler& handle) {
  const auto rows = static_cast<int64_t>(tokens.size());
  const auto back = static_cast<int64_t>(forgotten);
  const auto group = static_cast<std::size_t>(std::max<int64_t>(1, kRowsAtOnce / rows));
  for (std::size_t from = 0; from < candidates.size(); from += group) {
    const auto part = candidates.subspan(from, std::min(group, candidates.size() - from));
    std::vector<backbone::ReadRequest> requests;
    for (Candidate& candidate : part) {
      requests.push_back({&candidate.cache, tokens, backbone::Logits::all, false, false, adapter});
    }
    const auto results = decoder.read(requests);
    for (std::size_t i = 0; i < part.size(); ++i) {
      handle(part[i], results[i]);
      backbone::KvCache& cache = part[i].cache;
      cache.rewind(cache.slots() - back, cache.next_position() - back);
    }
  }
}

void read_all(const backbone::Decoder& decoder, std::span<Candidate> candidates,
              const ChoiceQuestion& question) {
  const std::size_t asked = question.tokens.size();
  const auto tell_question = [&](Candidate& candidate, const backbone::ReadResult& result) {
    const auto scores = following_log_probabilities(
        result.logits.narrow(0, 0, static_cast<int64_t>(asked)), question.tokens);
    candidate.question_log_probability = std::accumulate(scores.begin(), scores.end(), 0.0);
  };
  if (question.adapter != nullptr) {
    read_over(decoder, candidates, question.tokens, nullptr, asked, tell_question);
  }
  std::vector<TokenId> tokens(question.tokens.begin(), question.tokens.end());
  tokens.insert(tokens.end(), question.refusal.begin(), question.refusal.end());
  const auto tell_rest = [&](Candidate& candidate, const backbone::ReadResult& result) {
    if (question.adapter == nullptr) {
      tell_question(candidate, result);
    }
    const auto last = static_cast<int64_t>(asked) - 1;
    candidate.logits = result.logits.select(0, last).clone();
    if (!question.refusal.empty()) {
      const auto scores = following_log_probabilities(
          result.logits.narrow(0, last, static_cast<int64_t>(question.refusal.size()) + 1),
          std::span<const TokenId>(tokens).subspan(asked - 1));
      candidate.evidence = log_odds_against(std::accumulate(scores.begin(), scores.end(), 0.0));
    }
  };
  read_over(decoder, candidates, tokens, question.adapter, question.refusal.size(), tell_rest);
}

}  // namespace

std::size_t choose_document(const backbone::Decoder& decoder, std::span<Candidate> candidates,
                            const ChoiceQuestion& question, const ChoiceWeights& weights) {
  ALLUVIUM_CHECK(!candidates.empty(), "there is no document to choose from");
  ALLUVIUM_CHECK(!question.tokens.empty(), "the question holds no token");
  read_all(decoder, candidates, question);
  double best_score = 0;
  for (const Candidate& candidate : candidates) {
    best_score = std::max(best_score, candidate.retrieval_score);
  }
  double highest = -INFINITY;
  for (Candidate& candidate : candidates) {
    const double share = best_score > 0 ? candidate.retrieval_score / best_score : 0;
    candidate.weight = weights.retrieval * share +
                       weights.question * candidate.question_log_probability +
                       weights.evidence * candidate.evidence;
    highest = std::max(highest, candidate.weight);
  }
  double total = 0;
  for (Candidate& candidate : candidates) {
    candidate.weight = std::exp(candidate.weight - highest);
    total += candidate.weight;
  }
  for (Candidate& candidate : candidates) {
    candidate.weight /= total;
  }
  const auto best =
      std::max_element(candidates.begin(), candidates.end(),
                       [](const Candidate& a, const Candidate& b) { return a.weight < b.weight; });
  return static_cast<std::size_t>(best - candidates.begin());
}

}  // namespace alluvium::service
