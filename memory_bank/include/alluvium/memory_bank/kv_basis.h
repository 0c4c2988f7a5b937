// The directions in which keys and values of one decoder vary, by how much each matters.
//
// Purpose: what codec.quantiser = "transform" writes a row in: coordinates that hang together as little as can be, the first of which
//          hold most of what attention sees. Fitted once for a decoder (`alluvium train basis`), on text of any kind.
// Source : principal components of keys and values: MatryoshkaKV (Lin et al., ICLR 2025), whose training of the basis is left out;
//          keys weighed by the second moment of the queries that meet them: query-aware vector quantisation, A2ATS (2025), sec. 3.
// Differs: one basis for each layer and KV head, since heads keep different rows. A key is stored before rotation, so the queries that
//          weigh it are turned by every distance up to kDistances. Values are not weighed: by what the output projection does to
//          them they would save 3 % of their bits.
// Threads: plain data; the functions are thread-safe. A KvBasisFit belongs to one thread.
#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/sha256.h"

namespace alluvium::memory_bank {

/// Of keys before rotation, or of values.
struct HeadBases {
  at::Tensor mean;  ///< float32 [layers, kv_heads, head_dim]
  at::Tensor
      analysis;  ///< [layers, kv_heads, head_dim, head_dim]: coordinates = analysis (row - mean)
  at::Tensor synthesis;  ///< its inverse
  /// [layers, kv_heads, head_dim], standard deviation of each coordinate, mostly falling. Keys: in logits, what a query of the kind
  /// that was seen gains or loses by it
  at::Tensor spread;
};

struct KvBasis {
  Digest model{};   ///< Decoder::model() it was fitted to
  Digest digest{};  ///< of all its numbers; part of what a memory depends on
  HeadBases keys;
  HeadBases values;

  int64_t layers() const { return keys.mean.size(0); }
  int64_t kv_heads() const { return keys.mean.size(1); }
  int64_t head_dim() const { return keys.mean.size(2); }
  /// The digest's first four bytes: what a record names it by.
  uint32_t mark() const;
};

/// A .safetensors file. Throws ResourceExhausted when it cannot be written.
void save_kv_basis(const std::string& path, const KvBasis& basis);

/// Throws InvalidArgument when the file cannot be read, DataCorruption when it is damaged or no basis.
KvBasis load_kv_basis(const std::string& path);

/// Takes in the rows of read text, then gives their basis.
class KvBasisFit {
 public:
  /// Queries are turned by distances below this, and below the decoder's positions.
  static constexpr int64_t kDistances = 512;

  static constexpr double kQuestionWeight = 10;  ///< see add_question()
  /// The decoder must outlive it.
  explicit KvBasisFit(const backbone::Decoder& decoder);

  /// A document's reading, with keys, values and queries. Throws NumericError when one is not finite.
  void add(const backbone::ReadResult& reading);

  /// Queries of a question and its answer, [layers, heads, n, head_dim] pre-RoPE. Where there are some, they weigh kQuestionWeight times
  /// as much as those of the documents: it is they that will meet the keys. Throws NumericError.
  void add_question(const at::Tensor& queries);

  /// Rows taken in, of each layer and head.
  int64_t rows() const { return rows_; }

  /// Throws InvalidArgument with fewer than 4 * head_dim rows.
  KvBasis finish() const;

 private:
  struct Moments {
    at::Tensor sum;      // float64 [layers, kv_heads, head_dim]
    at::Tensor squares;  // float64 [layers, kv_heads, head_dim, head_dim], sums of x x^T

    void add(const at::Tensor& rows);
  };

  const backbone::Decoder& decoder_;
  int64_t rows_ = 0;
  Moments keys_;
  Moments values_;
  Moments queries_;  // of the heads of a group together
  Moments asked_;    // likewise, of questions
  int64_t asked_rows_ = 0;
};

}  // namespace alluvium::memory_bank
