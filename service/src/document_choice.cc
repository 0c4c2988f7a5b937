#include "document_choice.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "alluvium/backbone/generation.h"
#include "alluvium/core/error.h"
#include "alluvium/service/refusal.h"

namespace alluvium::service {
namespace {

using backbone::TokenId;

// Logits of so many rows are in memory at once: about 100 MB with the default vocabulary.
constexpr int64_t kRowsAtOnce = 512;

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
    const auto scores = backbone::token_log_probabilities(
        result.logits.narrow(0, 0, static_cast<int64_t>(asked) - 1), question.tokens.subspan(1));
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
      const auto scores = backbone::token_log_probabilities(
          result.logits.narrow(0, last, static_cast<int64_t>(question.refusal.size())),
          question.refusal);
      candidate.evidence = odds_against_refusal(std::accumulate(scores.begin(), scores.end(), 0.0));
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
