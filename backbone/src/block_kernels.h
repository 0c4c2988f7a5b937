// Products of packed 4- and 8-bit weights with one row, for sixteen weight rows at a time.
//
// Purpose: the inner loop of BlockMatrix. A tile is 16 rows by 32 columns, its numbers laid out so that one vector register holds
//          four columns of all sixteen rows: no sum ever crosses lanes, and every byte of the stream is used in order.
// Tile   : 16 half-precision scales; for q4_1 16 half-precision minima; then, for each four columns c, 16 groups of 4 bytes, one a
//          row. 4-bit codes: the low half of the byte is column c, the high half column c + 16 (four such blocks of 64 bytes).
//          8-bit codes: stored with 128 added, so that they are never negative (eight blocks of 64 bytes).
// Threads: pure functions of their arguments.
#pragma once

#include <cstddef>
#include <cstdint>

namespace alluvium::backbone {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileColumns = 32;

/// Which numbers a tile holds; as StorageFormat, for code compiled without the rest of the project.
enum class TileFormat { q4_0, q4_1, q8_0 };

constexpr std::size_t tile_bytes(TileFormat format) {
  const std::size_t header = format == TileFormat::q4_1 ? 64 : 32;
  return header + (format == TileFormat::q8_0 ? 512 : 256);
}

/// What a code of the format stands above its value.
constexpr int32_t offset_of(TileFormat format) {
  return format == TileFormat::q8_0 ? 128 : format == TileFormat::q4_0 ? 8 : 0;
}

/// The row that weights are multiplied with, in two forms of one content. In float32, and for each block of 32 columns as whole
/// numbers q = x / scale of at most 21 bits and a sign, split into q = 2^14 high + 2^7 middle + low with 0 <= middle, low < 128:
/// 8-bit products then add up to the same sums as 22-bit ones.
struct TileOperand {
  int64_t blocks = 0;             ///< columns / 32
  const float* values = nullptr;  ///< [columns]
  const float* sums = nullptr;    ///< [blocks] sum of the values
  const int8_t* high = nullptr;   ///< [columns]
  const int8_t* middle = nullptr;
  const int8_t* low = nullptr;
  const float* scales = nullptr;  ///< [blocks]
  // What the format's offset (8 or 128) takes from a block's sum of 2^7 high + middle, and of low.
  const int32_t* upper_shifts = nullptr;  ///< [blocks]
  const int32_t* low_shifts = nullptr;    ///< [blocks]
};

/// y[r] = sum_c W[r, c] x[c] for `groups` times 16 rows; tiles: [groups][blocks].
using TileProduct = void (*)(const std::byte* tiles, int64_t groups, const TileOperand& x,
                             float* y);

/// A kernel for each format.
template <class Kernel>
struct ByTileFormat {
  Kernel q4_0;
  Kernel q4_1;
  Kernel q8_0;

  Kernel of(TileFormat format) const {
    return format == TileFormat::q4_0 ? q4_0 : format == TileFormat::q4_1 ? q4_1 : q8_0;
  }
};

using TileKernels = ByTileFormat<TileProduct>;

/// Several rows that weights are multiplied with at once: each block of 32 columns as whole numbers q = x / scale of at most 14 bits and
/// a sign, split into q = 2^7 high + low with 0 <= low < 128. A bfloat16 has 8 bits.
struct FewRowsOperand {
  int64_t rows = 0;
  int64_t blocks = 0;             ///< columns / 32
  const int8_t* high = nullptr;   ///< [rows, columns]
  const int8_t* low = nullptr;    ///< [rows, columns]
  const float* scales = nullptr;  ///< [rows, blocks]
  const float* sums = nullptr;    ///< [rows, blocks] sum of the values
  /// [rows, blocks] what the format's offset (8 or 128) takes from a block's sum of q
  const int32_t* shifts = nullptr;
};

/// y[i * stride + r] = sum_c W[r, c] x_i[c] for all rows i and `groups` times 16 rows of the matrix; tiles: [groups][blocks].
using FewRowsProduct = void (*)(const std::byte* tiles, int64_t groups, const FewRowsOperand& x,
                                int64_t stride, float* y);

using FewRowsKernels = ByTileFormat<FewRowsProduct>;

/// Where split_few() writes the whole-number form of one row of a FewRowsOperand.
struct SplitFewRow {
  int8_t* high;
  int8_t* low;
  float* scales;
  float* sums;
  int32_t* shifts;
};

/// As SplitRowFunction.
using SplitFewFunction = void (*)(const float* x, int64_t blocks, int32_t offset,
                                  const SplitFewRow& out);

/// Where split_row() writes the whole-number form of a row.
struct SplitRow {
  int8_t* high;
  int8_t* middle;
  int8_t* low;
  float* scales;
  int32_t* upper_shifts;
  int32_t* low_shifts;
};

/// Writes the whole numbers of x: [blocks * 32]; `offset` is what a code stands above its value (0, 8 or 128).
/// A block with a number that is not finite gets scale NaN, so that the product is NaN as well.
using SplitRowFunction = void (*)(const float* x, int64_t blocks, int32_t offset,
                                  const SplitRow& out);

/// y[i * stride + r] += sum_c B[r, c] x_i[c] for all rows i and r below `rows`, where x_i is block `block` of row i, of which the first
/// 4 `vectors` numbers meet B (vectors: 2, 4 or 8). tiles: for each sixteen rows of B their 16 float32 scales, then `vectors` times 64
/// bytes as in a tile of 8-bit codes; shifts of `x` are those of offset 128.
using NarrowProduct = void (*)(const std::byte* tiles, int64_t rows, int64_t vectors,
                               const FewRowsOperand& x, int64_t block, int64_t stride, float* y);

struct VnniKernels {
  SplitRowFunction split_row;
  TileKernels products;
  SplitFewFunction split_few;
  FewRowsKernels few_rows;
  NarrowProduct add_narrow;
};

/// Float32 arithmetic on the expanded codes, for the best instruction set of this processor.
const TileKernels& float_tile_kernels();

/// Whole-number arithmetic in AVX512-VNNI; null where the processor has none.
const VnniKernels* vnni_kernels();

}  // namespace alluvium::backbone
