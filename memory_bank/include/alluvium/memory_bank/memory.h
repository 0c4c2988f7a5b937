// What a codec makes of one chunk of a document.
//
// Threads: plain data; tensors are shared, never changed in place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/sha256.h"

namespace alluvium::memory_bank {

/// The token span of a document that one memory covers.
struct Chunk {
  std::size_t begin = 0;  ///< byte range in the document's text, [begin, end)
  std::size_t end = 0;
  /// Of title and text as the template joins them, tokenised alone; what the codec reads
  std::vector<backbone::TokenId> tokens;
};

/// One compressed chunk. `keys` and `values` are undefined for codecs that store tokens only.
struct Memory {
  /// Of the codec that made it (backbone, tokenizer, prefix and settings inside)
  Digest fingerprint{};
  /// SHA-256 of the chunk's token ids: what the record itself says it holds
  Digest document_sha{};
  std::vector<backbone::TokenId> tokens;
  at::Tensor keys;  ///< [layers, kv_heads, n, head_dim] pre-RoPE, float32, float16 or bfloat16, CPU
  at::Tensor values;  ///< [layers, kv_heads, n, head_dim], dtype of keys

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  /// Bytes of the tensors and tokens in memory.
  std::size_t resident_bytes() const;
};

/// SHA-256 over the ids as little-endian 32-bit integers.
Digest hash_tokens(const std::vector<backbone::TokenId>& tokens);

}  // namespace alluvium::memory_bank
