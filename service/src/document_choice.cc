#include "document_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "alluvium/backbone/generation.h"
#include "alluvium/core/error.h"
#include "alluvium/service/refusal.h"

namespace alluvium::service {
namespace {

using backbone::TokenId;

// Logits of so many rows are in memory at once: about 100 MB with the default vocabulary.
constexpr int64_t kRowsAtOnce = 512;

// One pass tells all: the question's tokens, then how a refusal begins, whose last token need not be read to know its probability.
void read_all(const backbone::Decoder& decoder, std::span<Candidate> candidates,
              const ChoiceQuestion& question) {
  const auto asked = static_cast<int64_t>(question.tokens.size());
  const auto refusal = static_cast<int64_t>(question.refusal.size());
  const int64_t forgotten = std::max<int64_t>(refusal - 1, 0);
  std::vector<TokenId> tokens(question.tokens.begin(), question.tokens.end());
  tokens.insert(tokens.end(), question.refusal.begin(), question.refusal.begin() + forgotten);
  const auto total = [](const at::Tensor& logits, std::span<const TokenId> of) {
    const auto scores = backbone::token_log_probabilities(logits, of);
    return std::accumulate(scores.begin(), scores.end(), 0.0);
  };
  const auto tell = [&](Candidate& candidate, const at::Tensor& logits) {
    candidate.question_log_probability =
        total(logits.narrow(0, 0, asked - 1), question.tokens.subspan(1));
    candidate.logits = logits.select(0, asked - 1).clone();
    if (refusal > 0) {
      candidate.evidence =
          odds_against_refusal(total(logits.narrow(0, asked - 1, refusal), question.refusal));
    }
  };
  const auto group =
      static_cast<std::size_t>(std::max<int64_t>(1, kRowsAtOnce / (asked + forgotten)));
  for (std::size_t from = 0; from < candidates.size(); from += group) {
    const auto part = candidates.subspan(from, std::min(group, candidates.size() - from));
    std::vector<backbone::ReadRequest> requests;
    for (Candidate& candidate : part) {
      requests.push_back(
          {&candidate.cache, tokens, backbone::Logits::all, false, false, question.adapter});
    }
    const auto results = decoder.read(requests);
    for (std::size_t i = 0; i < part.size(); ++i) {
      tell(part[i], results[i].logits);
      backbone::KvCache& cache = part[i].cache;
      cache.rewind(cache.slots() - forgotten, cache.next_position() - forgotten);
    }
  }
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
