#include "wordpiece.h"

#include <algorithm>

#include "alluvium/core/error.h"

namespace alluvium::backbone {
namespace {

Digest digest_of(const WordPieceModel& model) {
  Sha256 hash;
  hash.update(fmt::format("wordpiece {} {} {} {} {} {} {}\n", model.unknown, model.continuation,
                          model.most_characters, model.rules.clean_text,
                          model.rules.split_ideographs, model.rules.strip_accents,
                          model.rules.lower_case));
  for (const std::string& piece : model.pieces) {
    hash.update(fmt::format("{} {}\n", piece.size(), piece));
  }
  for (const AddedToken& token : model.added) {
    hash.update(fmt::format("{} {} {} {} {}\n", token.id, token.special, token.takes_left,
                            token.takes_right, token.content));
  }
  return hash.finish();
}

bool continues_sequence(char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; }

}  // namespace

WordPiece::WordPiece(WordPieceModel model)
    : model_(std::move(model)), added_(model_.added), digest_(digest_of(model_)) {
  std::size_t size = model_.pieces.size();
  for (const AddedToken& token : model_.added) {
    size = std::max(size, static_cast<std::size_t>(token.id) + 1);
  }
  model_.pieces.resize(size);
  special_.resize(size, false);
  for (const AddedToken& token : model_.added) {
    model_.pieces[token.id] = token.content;
    special_[token.id] = token.special;
  }
  for (std::size_t id = 0; id < size; ++id) {
    if (!model_.pieces[id].empty()) {
      ids_.emplace(model_.pieces[id], static_cast<TokenId>(id));
    }
  }
  const std::optional<TokenId> unknown = find_token(model_.unknown);
  if (!unknown) {
    throw DataCorruption(fmt::format("the unknown token '{}' is no token", model_.unknown));
  }
  unknown_ = *unknown;
}

void WordPiece::encode_word(const BertWord& word, std::vector<TokenId>& ids) const {
  if (word.characters > model_.most_characters) {
    ids.push_back(unknown_);
    return;
  }
  const std::size_t before = ids.size();
  std::string candidate;
  for (std::size_t begin = 0; begin < word.text.size();) {
    candidate = begin == 0 ? "" : model_.continuation;
    const std::size_t prefix = candidate.size();
    candidate.append(word.text, begin, std::string::npos);
    auto found = ids_.find(candidate);
    while (found == ids_.end() && candidate.size() > prefix) {
      // Drops the last character.
      while (continues_sequence(candidate.back())) {
        candidate.pop_back();
      }
      candidate.pop_back();
      found = candidate.size() > prefix ? ids_.find(candidate) : ids_.end();
    }
    if (found == ids_.end()) {
      // One part without an entry makes the whole word unknown.
      ids.resize(before);
      ids.push_back(unknown_);
      return;
    }
    ids.push_back(found->second);
    begin += candidate.size() - prefix;
  }
}

std::vector<TokenId> WordPiece::encode(std::string_view text, SpecialTokens special) const {
  std::vector<TokenId> ids;
  added_.split(
      text, special,
      [&](std::string_view between) {
        for (const BertWord& word : split_bert_words(between, model_.rules)) {
          encode_word(word, ids);
        }
      },
      [&](TokenId id) { ids.push_back(id); });
  return ids;
}

std::string WordPiece::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) {
    ALLUVIUM_CHECK(id >= 0 && id < vocabulary_size() && !model_.pieces[id].empty(),
                   "token id {} is outside the vocabulary of {}", id, vocabulary_size());
    if (special_[id]) {
      continue;
    }
    const std::string& piece = model_.pieces[id];
    if (piece.size() > model_.continuation.size() && piece.starts_with(model_.continuation)) {
      text.append(piece, model_.continuation.size());
    } else {
      text.append(text.empty() ? "" : " ").append(piece);
    }
  }
  return text;
}

std::optional<TokenId> WordPiece::find_token(std::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace alluvium::backbone
