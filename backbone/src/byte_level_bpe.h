// Byte-level byte-pair encoding (GPT-2, SmolLM, Llama 3, Qwen 2).
//
// Purpose: text to words (WordSplitter), words to bytes, bytes merged by rank.
// Source : Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.2.
// Differs: bytes that have no token of their own (a vocabulary need not spell all 256) are left out, as in the reference. Words that merge
//          into one token are found by one look-up, proved at load by merging every vocabulary entry once.
// Cost   : one hash look-up for a known word, O(n log n) for another of n bytes.
// Threads: immutable after construction.
#pragma once

#include <array>
#include <unordered_map>
#include <utility>

#include "added_tokens.h"
#include "alluvium/backbone/tokenizer.h"
#include "pair_merges.h"
#include "word_splitter.h"

namespace alluvium::backbone {

/// What a file says about a byte-level tokenizer.
struct BytePairModel {
  std::vector<std::string> pieces;  ///< by id, in the byte alphabet; "" where an id is unused
  std::vector<std::pair<std::string, std::string>> merges;  ///< by rank
  std::vector<AddedToken> added;
  SplitRule split = SplitRule::gpt2;
  bool compose = false;        ///< text is brought into normal form C first (Qwen 2)
  bool ignore_merges = false;  ///< a word that is a vocabulary entry is that token, whatever the
                               ///< merges make of it (Llama 3)
};

class ByteLevelBpe final : public Tokenizer {
 public:
  /// Throws DataCorruption when a merge names a piece outside the vocabulary.
  explicit ByteLevelBpe(const BytePairModel& model);

  std::vector<TokenId> encode(std::string_view text, SpecialTokens special) const override;
  std::string decode(std::span<const TokenId> ids) const override;
  std::optional<TokenId> find_token(std::string_view piece) const override;
  int64_t vocabulary_size() const override { return static_cast<int64_t>(bytes_.size()); }
  const Digest& digest() const override { return digest_; }

 private:
  /// Which part of the vocabulary an id belongs to.
  enum class Kind : uint8_t { unused, ordinary, added, special };

  void index_pieces(const BytePairModel& model);
  void index_merges(const BytePairModel& model);
  void find_whole_words();
  void encode_text(std::string_view text, std::vector<TokenId>& ids) const;
  std::vector<TokenId> merge(std::string_view word) const;

  SplitRule split_;
  bool compose_;
  bool ignore_merges_;
  AddedTokens added_;
  PairMerges merges_;
  std::vector<std::string> bytes_;  // by id: what decode() gives
  std::vector<Kind> kinds_;         // by id
  std::vector<bool> whole_words_;   // by id: its bytes as a word are this one token
  std::unordered_map<std::string_view, TokenId>
      ids_;  // ordinary pieces by bytes; views into bytes_
  std::array<TokenId, 256> byte_ids_{};
  Digest digest_{};
};

}  // namespace alluvium::backbone
