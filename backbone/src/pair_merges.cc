#include "pair_merges.h"

#include <limits>
#include <queue>

namespace alluvium::backbone {
namespace {

// Up to here scanning for the best pair is cheaper than a heap.
constexpr std::size_t kShortWord = 24;
constexpr int32_t kNone = -1;

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

// A symbol of a word under way, linked to its living neighbours; `id` is kNone when it was merged
// into its left neighbour.
struct Symbol {
  TokenId id;
  int32_t previous;
  int32_t next;
};

struct Candidate {
  int32_t rank;
  int32_t position;
  TokenId merged;

  // The heap's top is the greatest: lowest rank first, then leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

}  // namespace

void PairMerges::add(TokenId left, TokenId right, TokenId merged) {
  rules_[pair_key(left, right)] = {count_++, merged};
}

const PairMerges::Rule* PairMerges::find(TokenId left, TokenId right) const {
  const auto found = rules_.find(pair_key(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

void PairMerges::apply(std::vector<TokenId>& symbols) const {
  if (symbols.size() <= kShortWord) {
    apply_to_short(symbols);
  } else {
    apply_to_long(symbols);
  }
}

void PairMerges::apply_to_short(std::vector<TokenId>& symbols) const {
  constexpr int32_t kNoRule = std::numeric_limits<int32_t>::max();
  std::vector<Rule> pairs;  // pairs[i] is the rule of symbols i and i + 1
  const auto rule_at = [&](std::size_t i) {
    const Rule* const rule = find(symbols[i], symbols[i + 1]);
    return rule == nullptr ? Rule{kNoRule, kNone} : *rule;
  };
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    pairs.push_back(rule_at(i));
  }
  while (!pairs.empty()) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < pairs.size(); ++i) {
      best = pairs[i].rank < pairs[best].rank ? i : best;
    }
    if (pairs[best].rank == kNoRule) {
      return;
    }
    symbols[best] = pairs[best].merged;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) {
      pairs[best - 1] = rule_at(best - 1);
    }
    if (best < pairs.size()) {
      pairs[best] = rule_at(best);
    }
  }
}

void PairMerges::apply_to_long(std::vector<TokenId>& symbols) const {
  const auto size = static_cast<int32_t>(symbols.size());
  std::vector<Symbol> word;
  word.reserve(symbols.size());
  for (int32_t i = 0; i < size; ++i) {
    word.push_back({symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < size ? i + 1 : kNone});
  }
  std::priority_queue<Candidate> candidates;
  const auto consider = [&](int32_t position) {
    if (position == kNone || word[position].next == kNone) {
      return;
    }
    if (const Rule* const rule = find(word[position].id, word[word[position].next].id)) {
      candidates.push({rule->rank, position, rule->merged});
    }
  };
  for (int32_t i = 0; i < size; ++i) {
    consider(i);
  }
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = word[best.position];
    if (left.id == kNone || left.next == kNone) {
      continue;
    }
    Symbol& right = word[left.next];
    // A candidate outlives its pair when a neighbour was merged first: then the pair there makes
    // another, longer token.
    const Rule* const rule = find(left.id, right.id);
    if (rule == nullptr || rule->merged != best.merged) {
      continue;
    }
    left.id = best.merged;
    left.next = right.next;
    right.id = kNone;
    if (left.next != kNone) {
      word[left.next].previous = best.position;
    }
    consider(left.previous);
    consider(best.position);
  }
  symbols.clear();
  for (const Symbol& symbol : word) {
    if (symbol.id != kNone) {
      symbols.push_back(symbol.id);
    }
  }
}

}  // namespace alluvium::backbone
