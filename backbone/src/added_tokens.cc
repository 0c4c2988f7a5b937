#include "added_tokens.h"

#include <algorithm>

#include "alluvium/core/error.h"
#include "code_points.h"
#include "unicode_classes.h"

namespace alluvium::backbone {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::stable_sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    return a.content.size() > b.content.size();
  });
  for (const AddedToken& token : tokens_) {
    if (token.content.empty()) {
      throw DataCorruption(fmt::format("added token {} has no text", token.id));
    }
    starts_[static_cast<uint8_t>(token.content.front())] = true;
  }
}

const AddedToken* AddedTokens::longest_match(std::string_view text, SpecialTokens special) const {
  for (const AddedToken& token : tokens_) {
    const bool wanted = !token.special || special == SpecialTokens::recognise;
    if (wanted && text.substr(0, token.content.size()) == token.content) {
      return &token;
    }
  }
  return nullptr;
}

std::size_t AddedTokens::leading_space(std::string_view text) {
  std::size_t size = 0;
  while (size < text.size()) {
    const CodePoint point = code_point_at(text, size);
    if (character_class(point.value) != CharacterClass::space) {
      break;
    }
    size += point.bytes;
  }
  return size;
}

std::string_view AddedTokens::without_trailing_space(std::string_view text) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    at += point.bytes;
    if (character_class(point.value) != CharacterClass::space) {
      end = at;
    }
  }
  return text.substr(0, end);
}

}  // namespace alluvium::backbone
