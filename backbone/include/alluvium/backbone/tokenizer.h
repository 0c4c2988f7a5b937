// Text to token ids and back.
//
// Purpose: the vocabularies of the supported model families, id for id equal to their reference
// implementations. Threads: immutable after construction; all calls may run on many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/core/sha256.h"

namespace alluvium::backbone {

using TokenId = int32_t;

/// What encode() does with the text of a special token such as "<|im_end|>".
enum class SpecialTokens {
  plain_text,  ///< spelled out like any other text: for documents and questions, which nobody may
               ///< use to forge a turn
  recognise,   ///< becomes the special token's id: for templates of our own
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of `text`; nothing is added at either end. Malformed UTF-8 is encoded byte by byte
  /// (byte-level BPE) or as U+FFFD (WordPiece).
  virtual std::vector<TokenId> encode(std::string_view text,
                                      SpecialTokens special = SpecialTokens::plain_text) const = 0;

  /// Bytes of the ids, special tokens left out. May end inside a UTF-8 sequence. Throws
  /// InvalidArgument on an id outside the vocabulary.
  virtual std::string decode(std::span<const TokenId> ids) const = 0;

  /// Id of an exact vocabulary entry or special token, e.g. "<|endoftext|>" or "[CLS]".
  virtual std::optional<TokenId> find_token(std::string_view piece) const = 0;

  virtual int64_t vocabulary_size() const = 0;

  /// Identity of vocabulary, merges and rules.
  virtual const Digest& digest() const = 0;
};

/// The tokenizer inside a GGUF file (model "gpt2" with a supported pre-tokenizer, or "bert"), or
/// the tokenizer.json beside a Hugging Face checkpoint. Throws NotSupported naming what it does not
/// know.
std::unique_ptr<Tokenizer> load_tokenizer(const Checkpoint& checkpoint, const std::string& path);

/// A tokenizer.json file (BPE with a byte-level pre-tokenizer, or WordPiece with a BERT
/// normaliser).
std::unique_ptr<Tokenizer> load_tokenizer_json(const std::string& path);

}  // namespace alluvium::backbone
