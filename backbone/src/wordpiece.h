// WordPiece: greedy longest match of vocabulary entries within each word (BERT, MiniLM).
//
// Source : tokenization.py of https://github.com/google-research/bert (WordpieceTokenizer).
// Differs: none in ids. decode() joins words with one space, since the normaliser has forgotten the original spacing.
// Threads: immutable after construction.
#pragma once

#include <unordered_map>

#include "added_tokens.h"
#include "alluvium/backbone/tokenizer.h"
#include "bert_words.h"

namespace alluvium::backbone {

/// What a file says about a WordPiece tokenizer.
struct WordPieceModel {
  std::vector<std::string> pieces;  ///< by id; "" where an id is unused
  std::vector<AddedToken> added;
  std::string unknown = "[UNK]";
  std::string continuation = "##";    ///< prefix of entries that do not start a word
  std::size_t most_characters = 100;  ///< longer words are unknown
  BertRules rules;
};

class WordPiece final : public Tokenizer {
 public:
  /// Throws DataCorruption when the unknown token is no vocabulary entry.
  explicit WordPiece(WordPieceModel model);

  std::vector<TokenId> encode(std::string_view text, SpecialTokens special) const override;
  std::string decode(std::span<const TokenId> ids) const override;
  std::optional<TokenId> find_token(std::string_view piece) const override;
  int64_t vocabulary_size() const override { return static_cast<int64_t>(model_.pieces.size()); }
  const Digest& digest() const override { return digest_; }

 private:
  void encode_word(const BertWord& word, std::vector<TokenId>& ids) const;

  WordPieceModel model_;
  AddedTokens added_;
  std::vector<bool> special_;                          // by id
  std::unordered_map<std::string_view, TokenId> ids_;  // views into model_.pieces
  TokenId unknown_ = 0;
  Digest digest_{};
};

}  // namespace alluvium::backbone
