// What the codecs share: their context, their fingerprint, and reading chunks behind the shared
// prefix.
//
// Threads: immutable.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "alluvium/memory_bank/codec.h"

namespace alluvium::memory_bank {

class CodecBase : public Codec {
 public:
  const Digest& fingerprint() const override { return fingerprint_; }

  /// Memories of the chunks' tokens alone; codecs that store tensors do more.
  std::vector<Memory> compress(std::span<const Chunk> chunks) const override;

 protected:
  /// storage: everything that decides what is stored, in words; "tokens" when nothing else is. Throws InvalidArgument when the context lacks
  /// something or an option is out of range.
  CodecBase(const CodecContext& context, const char* name, const std::string& storage);

  const backbone::Decoder& decoder() const { return *context_.decoder; }
  const backbone::Tokenizer& tokenizer() const { return *context_.tokenizer; }
  const SharedPrefix& prefix() const { return *context_.prefix; }
  const CodecOptions& options() const { return context_.options; }

  int64_t prefix_length() const { return static_cast<int64_t>(prefix().tokens.size()); }

  /// A cache that holds the shared prefix.
  backbone::KvCache start_after_prefix(int64_t room) const;

  /// Keys and values of each token span, read right after the shared prefix, all in one batch.
  std::vector<backbone::ReadResult> read_after_prefix(
      std::span<const std::span<const backbone::TokenId>> texts) const;

  /// A memory of the chunk's tokens, without tensors.
  Memory remember_tokens(const Chunk& chunk) const;

 private:
  const CodecContext context_;
  Digest fingerprint_{};
};

std::unique_ptr<Codec> make_none_codec(const CodecContext& context);
std::unique_ptr<Codec> make_text_codec(const CodecContext& context);
std::unique_ptr<Codec> make_kv_codec(const CodecContext& context);

}  // namespace alluvium::memory_bank
