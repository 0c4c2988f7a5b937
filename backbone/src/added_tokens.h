// Tokens that are found in the text before it is split into words.
//
// Purpose: special tokens ("<|im_end|>", "[CLS]") and tokens a vocabulary was extended by.
// Differs: leftmost match, the longest of several, as the reference's.
// Threads: immutable after construction.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/backbone/tokenizer.h"

namespace alluvium::backbone {

struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool special = true;       ///< found only where SpecialTokens::recognise is asked for
  bool takes_left = false;   ///< swallows the white space before it
  bool takes_right = false;  ///< swallows the white space behind it
};

class AddedTokens {
 public:
  /// Throws DataCorruption on an empty content.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  const std::vector<AddedToken>& all() const { return tokens_; }

  /// Cuts `text` at the tokens: on_text(std::string_view) for each non-empty piece between,
  /// on_token(TokenId) for each token, in order.
  template <class OnText, class OnToken>
  void split(std::string_view text, SpecialTokens special, OnText on_text, OnToken on_token) const {
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size();) {
      const AddedToken* const token = match(text, at, special);
      if (token == nullptr) {
        ++at;
        continue;
      }
      std::string_view before = text.substr(begin, at - begin);
      if (token->takes_left) {
        before = without_trailing_space(before);
      }
      if (!before.empty()) {
        on_text(before);
      }
      on_token(token->id);
      at += token->content.size();
      if (token->takes_right) {
        at += leading_space(text.substr(at));
      }
      begin = at;
    }
    if (begin < text.size()) {
      on_text(text.substr(begin));
    }
  }

 private:
  const AddedToken* match(std::string_view text, std::size_t at, SpecialTokens special) const {
    const auto first = static_cast<uint8_t>(text[at]);
    return starts_[first] ? longest_match(text.substr(at), special) : nullptr;
  }

  const AddedToken* longest_match(std::string_view text, SpecialTokens special) const;

  static std::string_view without_trailing_space(std::string_view text);
  static std::size_t leading_space(std::string_view text);

  std::vector<AddedToken> tokens_;  // longest first
  std::array<bool, 256> starts_{};  // first bytes of the tokens
};

}  // namespace alluvium::backbone
