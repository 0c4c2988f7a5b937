#include "byte_level_bpe.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include <utf8proc.h>

#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"
#include "byte_alphabet.h"

namespace alluvium::backbone {
namespace {

constexpr TokenId kNoToken = -1;

Digest digest_of(const BytePairModel& model) {
  Sha256 hash;
  hash.update(fmt::format("byte-level bpe {} {} {}\n", to_string(model.split), model.compose,
                          model.ignore_merges));
  for (const std::string& piece : model.pieces) {
    hash.update(fmt::format("{} {}\n", piece.size(), piece));
  }
  for (const auto& [left, right] : model.merges) {
    hash.update(fmt::format("{} {} {}\n", left.size(), left, right));
  }
  for (const AddedToken& token : model.added) {
    hash.update(fmt::format("{} {} {} {} {}\n", token.id, token.special, token.takes_left,
                            token.takes_right, token.content));
  }
  return hash.finish();
}

// Normal form C; text that is ASCII or malformed stays as it is.
std::string composed(std::string_view text) {
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char byte) { return static_cast<unsigned char>(byte) < 0x80; });
  if (ascii || find_invalid_utf8(text)) {
    return std::string(text);
  }
  utf8proc_uint8_t* bytes = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &bytes,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(bytes, &std::free);
  ALLUVIUM_ASSERT(size >= 0);
  return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

}  // namespace

ByteLevelBpe::ByteLevelBpe(const BytePairModel& model)
    : split_(model.split),
      compose_(model.compose),
      ignore_merges_(model.ignore_merges),
      added_(model.added),
      digest_(digest_of(model)) {
  index_pieces(model);
  index_merges(model);
  find_whole_words();
}

void ByteLevelBpe::index_pieces(const BytePairModel& model) {
  std::size_t size = model.pieces.size();
  for (const AddedToken& token : model.added) {
    size = std::max(size, static_cast<std::size_t>(token.id) + 1);
  }
  bytes_.resize(size);
  kinds_.resize(size, Kind::unused);
  for (const AddedToken& token : model.added) {
    bytes_[token.id] = token.content;
    kinds_[token.id] = token.special ? Kind::special : Kind::added;
  }
  for (std::size_t id = 0; id < model.pieces.size(); ++id) {
    const std::string& piece = model.pieces[id];
    if (kinds_[id] != Kind::unused || piece.empty()) {
      continue;
    }
    // A piece outside the alphabet cannot come out of text; it keeps its spelling.
    const std::optional<std::string> bytes = bytes_of_piece(piece);
    bytes_[id] = bytes.value_or(piece);
    kinds_[id] = bytes ? Kind::ordinary : Kind::added;
  }
  byte_ids_.fill(kNoToken);
  ids_.reserve(size);
  for (std::size_t id = 0; id < size; ++id) {
    if (kinds_[id] != Kind::ordinary) {
      continue;
    }
    ids_.emplace(bytes_[id], static_cast<TokenId>(id));
    if (bytes_[id].size() == 1) {
      byte_ids_[static_cast<uint8_t>(bytes_[id].front())] = static_cast<TokenId>(id);
    }
  }
}

void ByteLevelBpe::index_merges(const BytePairModel& model) {
  const auto id_of = [&](const std::string& piece) {
    const std::optional<std::string> bytes = bytes_of_piece(piece);
    const auto found = bytes ? ids_.find(*bytes) : ids_.end();
    if (found == ids_.end()) {
      throw DataCorruption(fmt::format("a merge makes or needs '{}', which is no token", piece));
    }
    return found->second;
  };
  for (const auto& [left, right] : model.merges) {
    merges_.add(id_of(left), id_of(right), id_of(left + right));
  }
}

void ByteLevelBpe::find_whole_words() {
  whole_words_.resize(bytes_.size(), false);
  for (const auto& [bytes, id] : ids_) {
    whole_words_[id] = ignore_merges_ || merge(bytes) == std::vector<TokenId>{id};
  }
}

std::vector<TokenId> ByteLevelBpe::merge(std::string_view word) const {
  std::vector<TokenId> symbols;
  symbols.reserve(word.size());
  for (const char byte : word) {
    if (const TokenId id = byte_ids_[static_cast<uint8_t>(byte)]; id != kNoToken) {
      symbols.push_back(id);
    }
  }
  merges_.apply(symbols);
  return symbols;
}

void ByteLevelBpe::encode_text(std::string_view text, std::vector<TokenId>& ids) const {
  WordSplitter splitter(split_, text);
  for (std::string_view word = splitter.next(); !word.empty(); word = splitter.next()) {
    const auto found = ids_.find(word);
    if (found != ids_.end() && whole_words_[found->second]) {
      ids.push_back(found->second);
      continue;
    }
    const std::vector<TokenId> merged = merge(word);
    ids.insert(ids.end(), merged.begin(), merged.end());
  }
}

std::vector<TokenId> ByteLevelBpe::encode(std::string_view text, SpecialTokens special) const {
  std::vector<TokenId> ids;
  added_.split(
      text, special,
      [&](std::string_view between) {
        if (compose_) {
          encode_text(composed(between), ids);
        } else {
          encode_text(between, ids);
        }
      },
      [&](TokenId id) { ids.push_back(id); });
  return ids;
}

std::string ByteLevelBpe::decode(std::span<const TokenId> ids) const {
  std::string text;
  for (const TokenId id : ids) {
    ALLUVIUM_CHECK(id >= 0 && id < vocabulary_size() && kinds_[id] != Kind::unused,
                   "token id {} is outside the vocabulary of {}", id, vocabulary_size());
    if (kinds_[id] != Kind::special) {
      text += bytes_[id];
    }
  }
  return text;
}

std::optional<TokenId> ByteLevelBpe::find_token(std::string_view piece) const {
  for (const AddedToken& token : added_.all()) {
    if (token.content == piece) {
      return token.id;
    }
  }
  const std::optional<std::string> bytes = bytes_of_piece(piece);
  const auto found = bytes ? ids_.find(*bytes) : ids_.end();
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace alluvium::backbone
