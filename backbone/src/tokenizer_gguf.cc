// Source : https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, "Tokenizer"; the spelling of BERT pieces as convert_hf_to_gguf.py of
//          https://github.com/ggml-org/llama.cpp writes it.
#include <array>

#include "alluvium/core/error.h"
#include "byte_level_bpe.h"
#include "tokenizer_sources.h"
#include "wordpiece.h"

namespace alluvium::backbone {
namespace {

enum class PieceType : int64_t { normal = 1, unknown = 2, control = 3, user_defined = 4 };

// What tokenizer.ggml.pre may name.
struct PreTokenizer {
  std::string_view name;
  SplitRule split;
  bool compose;
  bool ignore_merges;
};

constexpr std::array kPreTokenizers = {
    PreTokenizer{"default", SplitRule::gpt2, false, false},
    PreTokenizer{"gpt-2", SplitRule::gpt2, false, false},
    PreTokenizer{"smollm", SplitRule::smollm, false, false},
    PreTokenizer{"llama-bpe", SplitRule::llama3, false, true},
    PreTokenizer{"llama3", SplitRule::llama3, false, true},
    PreTokenizer{"llama-v3", SplitRule::llama3, false, true},
    PreTokenizer{"qwen2", SplitRule::qwen2, true, false},
};

const PreTokenizer& find_pre_tokenizer(const std::string& name) {
  for (const PreTokenizer& known : kPreTokenizers) {
    if (known.name == name) {
      return known;
    }
  }
  throw NotSupported(fmt::format(
      "pre-tokenizer '{}' is not supported; supported are gpt-2, smollm, llama-bpe, qwen2", name));
}

// Null when absent.
template <class Element>
const std::vector<Element>* find_list(const Checkpoint& checkpoint, const std::string& key) {
  const MetadataValue* const value = checkpoint.find_metadata(key);
  if (value == nullptr) {
    return nullptr;
  }
  if (!std::holds_alternative<std::vector<Element>>(*value)) {
    throw DataCorruption(fmt::format("the checkpoint's value '{}' is a list of another type", key));
  }
  return &std::get<std::vector<Element>>(*value);
}

const std::vector<std::string>& require_texts(const Checkpoint& checkpoint,
                                              const std::string& key) {
  const auto* const texts = find_list<std::string>(checkpoint, key);
  if (texts == nullptr) {
    throw DataCorruption(fmt::format("the checkpoint has no list '{}'", key));
  }
  return *texts;
}

const std::vector<std::string>& read_pieces(const Checkpoint& checkpoint) {
  const auto& pieces = require_texts(checkpoint, "tokenizer.ggml.tokens");
  if (pieces.empty() || static_cast<int64_t>(pieces.size()) > kLargestVocabulary) {
    throw DataCorruption(fmt::format("the vocabulary has {} pieces, 1 to {} are allowed",
                                     pieces.size(), kLargestVocabulary));
  }
  return pieces;
}

std::vector<AddedToken> read_added(const Checkpoint& checkpoint,
                                   const std::vector<std::string>& pieces) {
  const auto* const types = find_list<int64_t>(checkpoint, "tokenizer.ggml.token_type");
  if (types == nullptr) {
    return {};
  }
  if (types->size() != pieces.size()) {
    throw DataCorruption(fmt::format("the vocabulary has {} pieces and {} piece types",
                                     pieces.size(), types->size()));
  }
  std::vector<AddedToken> added;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const auto type = static_cast<PieceType>((*types)[id]);
    const bool special = type == PieceType::control || type == PieceType::unknown;
    if (special || type == PieceType::user_defined) {
      added.push_back({.content = pieces[id], .id = static_cast<TokenId>(id), .special = special});
    }
  }
  return added;
}

std::unique_ptr<Tokenizer> load_byte_pairs(const Checkpoint& checkpoint) {
  const PreTokenizer& pre = find_pre_tokenizer(checkpoint.text("tokenizer.ggml.pre", "default"));
  BytePairModel model;
  model.pieces = read_pieces(checkpoint);
  model.added = read_added(checkpoint, model.pieces);
  model.split = pre.split;
  model.compose = pre.compose;
  model.ignore_merges = pre.ignore_merges;
  for (const std::string& merge : require_texts(checkpoint, "tokenizer.ggml.merges")) {
    const std::size_t space = merge.find(' ');
    if (space == std::string::npos) {
      throw DataCorruption(fmt::format("merge '{}' has no space", merge));
    }
    model.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return std::make_unique<ByteLevelBpe>(model);
}

// Conversions mark the start of a word with U+2581 and drop the "##" of the other pieces; bracketed
// names stay.
std::string bert_piece(const std::string& piece) {
  constexpr std::string_view kWordStart = "\u2581";
  if (piece.starts_with(kWordStart)) {
    return piece.substr(kWordStart.size());
  }
  const bool bracketed = piece.size() > 1 && piece.front() == '[' && piece.back() == ']';
  return bracketed ? piece : "##" + piece;
}

std::unique_ptr<Tokenizer> load_wordpiece(const Checkpoint& checkpoint) {
  const std::vector<std::string>& pieces = read_pieces(checkpoint);
  WordPieceModel model;
  model.added = read_added(checkpoint, pieces);
  for (const std::string& piece : pieces) {
    model.pieces.push_back(bert_piece(piece));
  }
  const int64_t unknown = checkpoint.integer("tokenizer.ggml.unknown_token_id", -1);
  if (unknown >= 0 && unknown < static_cast<int64_t>(pieces.size())) {
    model.unknown = pieces[unknown];
  }
  return std::make_unique<WordPiece>(std::move(model));
}

}  // namespace

std::unique_ptr<Tokenizer> load_gguf_tokenizer(const Checkpoint& checkpoint) {
  const std::string model = checkpoint.text("tokenizer.ggml.model");
  if (model == "gpt2") {
    return load_byte_pairs(checkpoint);
  }
  if (model == "bert") {
    return load_wordpiece(checkpoint);
  }
  throw NotSupported(
      fmt::format("tokenizer model '{}' is not supported; supported are gpt2 and bert", model));
}

}  // namespace alluvium::backbone
