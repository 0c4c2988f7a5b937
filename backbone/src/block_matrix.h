// A frozen weight matrix in the checkpoint's own 4- or 8-bit blocks, multiplied with one row or a
// few.
//
// Purpose: one decoded token reads every weight once, so its cost is the bytes of the weights; further rows of a call find them in the
//          processor's first caches. The codes stay as stored, only
//          their order is the one a vector register wants (block_kernels.h). Sums are those of float32, or, where the processor has
//          VNNI, of whole numbers of 22 bits: nothing is rounded beyond what float32 itself rounds.
// Source : GGML block formats q4_0, q4_1, q8_0 (32 columns share a half-precision scale; q4_1 also a minimum).
// Cost   : rows * cols * (18, 20 or 34) / 32 bytes of memory traffic a call.
// Threads: immutable; multiply() may run on many threads and itself uses ATen's intra-operator
//          threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "alluvium/backbone/checkpoint.h"
#include "block_kernels.h"
#include "low_rank_blocks.h"

namespace alluvium::backbone {

/// `floats` is what a processor without VNNI does.
enum class BlockArithmetic { fastest, floats };

class BlockMatrix {
 public:
  /// True when every part is stored in one block format of 32 columns that multiply() knows.
  static bool supports(const std::vector<const StoredTensor*>& parts);

  /// Stacks the rows of `parts` ([rows, cols] each, equal cols, one format). `row_order[p]`
  /// permutes the rows of part p (empty = as stored): row r of the result is stored row
  /// row_order[p][r].
  BlockMatrix(const std::vector<const StoredTensor*>& parts,
              const std::vector<std::vector<int64_t>>& row_order);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  std::size_t bytes() const { return tiles_.size(); }
  const std::byte* data() const { return tiles_.data(); }

  /// y[r] = sum_c W[r, c] x[c]; x: [cols], y: [rows], float32.
  void multiply(const float* x, float* y,
                BlockArithmetic arithmetic = BlockArithmetic::fastest) const;

  /// The same with an adapter's share: y = W x + B (A x). `factors` has this matrix' sizes.
  void multiply_adapted(const float* x, const LowRankBlocks& factors, float* y) const;

  /// Whether multiply_few() can be called on this processor.
  static bool multiplies_few();

  /// Y = X W^T for a question's rows, x: [count, cols], y: [count, rows], float32; only where multiplies_few(). The numbers of x are rounded to 15 bits of each block's largest: seven
  /// bits more than bfloat16 has. Faster than multiply_rows() and, up to some 20 rows, than a product with dense bfloat16 weights.
  /// `adapted` names the factors whose share the rows of a run get as well.
  void multiply_few(const float* x, int64_t count, float* y,
                    std::span<const AdaptedBlocks> adapted = {}) const;

  /// As multiply() for `count` rows, x: [count, cols], y: [count, rows]; each as multiply() gives it.
  void multiply_rows(const float* x, int64_t count, float* y,
                     BlockArithmetic arithmetic = BlockArithmetic::fastest) const;

 private:
  TileFormat format_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  std::vector<std::byte> tiles_;
};

}  // namespace alluvium::backbone
