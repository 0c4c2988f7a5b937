// The merge rules of byte-pair encoding and their application to one word.
//
// Source : Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units", ACL 2016, section 3.2.
// Differs: the lowest rank is merged first, the leftmost of equals; a heap makes a word of n symbols cost O(n log n).
// Threads: immutable after construction.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "alluvium/backbone/tokenizer.h"

namespace alluvium::backbone {

class PairMerges {
 public:
  /// Adds the next rule; ranks count up from 0. Of two rules for one pair the later one holds, as
  /// in the reference.
  void add(TokenId left, TokenId right, TokenId merged);

  /// Merges `symbols` in place as far as the rules go.
  void apply(std::vector<TokenId>& symbols) const;

  std::size_t size() const { return count_; }

 private:
  struct Rule {
    int32_t rank;
    TokenId merged;
  };

  const Rule* find(TokenId left, TokenId right) const;
  void apply_to_short(std::vector<TokenId>& symbols) const;
  void apply_to_long(std::vector<TokenId>& symbols) const;

  std::unordered_map<uint64_t, Rule> rules_;
  int32_t count_ = 0;
};

}  // namespace alluvium::backbone
