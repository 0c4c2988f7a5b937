// An adapter's factors in 8-bit codes, beside a matrix whose weights are in 4 or 8.
//
// Purpose: a decoded token reads every factor once, so an adapter costs its bytes; a question's rows cost its products. In bfloat16 a
//          reader of rank 16 on all projections is a tenth of the default decoder's bytes, here it is a twentieth, and it meets the
//          whole numbers into which the matrix' own rows were split (block_kernels.h).
// Differs: of A each block of 32 columns has a scale, of B each row of a part. Codes are symmetric, of the rank's or block's largest: half a step of
//          1 / 127 at most is lost, where bfloat16 loses 1 / 256 of each number and the decoder's own weights half a step of 1 / 15.
// Cost   : rank * in * 34 / 32 + rank * out + out * 4 bytes, ranks rounded up to 8, 16 or 32.
// Threads: immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "block_kernels.h"

namespace alluvium::backbone {

class LowRankBlocks {
 public:
  /// Whether this processor multiplies factors of `in` columns so.
  static bool supports(int64_t in);

  /// a: [r, in], b: [out, r], float32 on the CPU, zero outside the spans; row r of A meets the rows [first, second) of B that spans[r] names.
  /// Equal spans follow each other. Only where supports(in).
  LowRankBlocks(const at::Tensor& a, const at::Tensor& b,
                const std::vector<std::pair<int64_t, int64_t>>& spans);

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }

  /// Groups of sixteen ranks, the last filled with zeros.
  int64_t groups() const { return groups_; }

  /// low[r] = sum_c A[r, c] x[c], low: [groups() * 16], scaled by some power of two; x has the shifts of offset 128.
  void multiply_a(const TileOperand& x, float* low) const;

  /// Y += B low for `count` rows of low as from multiply_a(); y: rows of `stride` numbers.
  void add_b(const float* low, int64_t count, int64_t stride, float* y) const;

  /// Y += B (A X) for all rows of x, which have the shifts of offset 128; y: rows of `stride` numbers. On the calling thread.
  void add_rows(const FewRowsOperand& x, int64_t stride, float* y) const;

  /// The same for x: [count, in] float32.
  void add_rows(const float* x, int64_t count, int64_t stride, float* y) const;

 private:
  // Up to 32 ranks that one span of outputs meets.
  struct Piece {
    int64_t first_rank;
    int64_t ranks;
    int64_t begin;  // of the outputs
    int64_t end;
    int64_t vectors;    // of four ranks
    std::size_t tiles;  // where its tiles begin in b_
  };

  void pack_a(const at::Tensor& a);
  void pack_b(const at::Tensor& b, Piece& piece);

  int64_t in_ = 0;
  int64_t out_ = 0;
  int64_t groups_ = 0;
  float unit_ = 1;  // what 1 is multiplied with in a_, a power of two
  std::vector<std::byte> a_;
  std::vector<std::byte> b_;
  std::vector<Piece> pieces_;
};

/// Rows of a batch that factors are multiplied with.
struct AdaptedBlocks {
  const LowRankBlocks* factors;
  int64_t begin;
  int64_t rows;
};

}  // namespace alluvium::backbone
