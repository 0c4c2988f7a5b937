// What a codec makes of one chunk of a document.
//
// Threads: plain data; tensors are shared, never changed in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
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

/// The tokens of a chunk that each layer and KV head keeps ("slot": one layer and head, layer by
/// layer).
struct KeptRows {
  /// [layers * kv_heads], at least 1 each; empty: every token is kept
  std::vector<int64_t> counts;
  /// int64 [rows]: tokens of the chunk, rising within a slot; undefined: all
  at::Tensor positions;

  bool everything() const { return counts.empty(); }
};

/// What a layer's section in a record is coded with (codec.entropy).
enum class EntropyCoder : uint8_t { none = 0, zstd = 1, rans = 2 };

/// One row for each slot of KeptRows that stands for the rows it lost: their mean.
struct CompensationRows {
  at::Tensor keys;    ///< [slots, head_dim] as if token 0 had them, dtype of Memory::keys
  at::Tensor values;  ///< likewise
  /// [slots] rows that each stands for: the logarithm is added to its logits. 0: nothing was lost
  /// there, its row is zeros. Empty: there are no such rows
  std::vector<int64_t> counts;
};

/// Keys and values as a record keeps them (docs/FORMATS.md, "Memory record").
struct StoredKv {
  struct Layer {
    int64_t key_bits = 0;  ///< 2, 3, 4, 8: quantised; 16, 32: as they are
    int64_t value_bits = 0;
    std::vector<std::byte> section;
    EntropyCoder coder = EntropyCoder::none;  ///< of the section
    std::size_t plain_bytes = 0;              ///< of the section before it was coded
  };
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t key_group = 0;    ///< kept rows that share a scale and a minimum in each channel of a key
  int64_t scale_bits = 16;  ///< of each scale and minimum: 8 or 16
  int64_t residual_rank = 0;         ///< of what is added to quantised keys and values of each head
  at::ScalarType type = at::kFloat;  ///< what it is decoded to: float32, float16 or bfloat16
  bool everything = true;            ///< every token is kept
  bool compensated = false;          ///< each slot has a compensation row
  bool fewer_channels = false;       ///< keys lack channels, whose means stand for them
  int64_t tail_bits = 0;  ///< of the tokens that are not among a head's kept ones; 0: they are lost
  bool row_keys = false;  ///< quantised keys have a scale and a minimum a row, not a channel
  /// Steps of keys and values along the directions of a basis (kv/transform.h); 0: they are not written so
  float key_step = 0;
  float value_step = 0;
  uint32_t basis_mark = 0;  ///< KvBasis::mark()
  std::vector<Layer> layers;

  bool transformed() const { return key_step > 0; }
};

/// How a memory came to be kept as it is. Not part of its record: the store keeps it in the row.
struct MemoryOrigin {
  /// Fingerprint of the settings that were asked for; the memory's own differs when the quality gate
  /// stored it richer. All zero: the memory's own
  Digest aim{};
  std::string preset;  ///< word of the settings it was made with; "custom" for single settings
  /// Nats a token that the chunk's own tokens are less likely over this memory than over all its
  /// keys and values; nothing: not measured
  std::optional<double> quality_gap;
};

/// One compressed chunk. `keys` and `values` are undefined for codecs that store tokens only.
struct Memory {
  /// Of the codec that made it (backbone, tokenizer, prefix and settings inside)
  Digest fingerprint{};
  /// SHA-256 of the chunk's token ids: what the record itself says it holds
  Digest document_sha{};
  std::vector<backbone::TokenId> tokens;
  /// [layers, kv_heads, n, head_dim] pre-RoPE, float32, float16 or bfloat16, CPU; when rows are
  /// evicted [rows, head_dim], slot after slot
  at::Tensor keys;
  at::Tensor values;  ///< shape and dtype of keys
  KeptRows kept;
  CompensationRows compensation;
  /// What a record is made of when keys and values are not stored as they are. A memory that came
  /// from a record has none.
  std::shared_ptr<const StoredKv> stored;
  MemoryOrigin origin;  ///< empty when it came from a record

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  /// Bytes of the tensors and tokens in memory.
  std::size_t resident_bytes() const;
};

/// SHA-256 over the ids as little-endian 32-bit integers.
Digest hash_tokens(const std::vector<backbone::TokenId>& tokens);

}  // namespace alluvium::memory_bank
