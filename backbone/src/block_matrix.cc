#include "block_matrix.h"

#include <algorithm>
#include <cstring>

#include "alluvium/backbone/parallel.h"
#include "alluvium/core/error.h"
#include "block_kernels.h"
#include "few_rows_space.h"

namespace alluvium::backbone {
namespace {

std::size_t block_bytes(StorageFormat format) {
  switch (format) {
    case StorageFormat::q4_0:
      return 18;
    case StorageFormat::q4_1:
      return 20;
    case StorageFormat::q8_0:
      return 34;
    case StorageFormat::f32:
    case StorageFormat::f16:
    case StorageFormat::bf16:
    case StorageFormat::i64:
      return 0;
  }
  return 0;
}

TileFormat to_tile_format(StorageFormat format) {
  switch (format) {
    case StorageFormat::q4_0:
      return TileFormat::q4_0;
    case StorageFormat::q4_1:
      return TileFormat::q4_1;
    case StorageFormat::q8_0:
      return TileFormat::q8_0;
    case StorageFormat::f32:
    case StorageFormat::f16:
    case StorageFormat::bf16:
    case StorageFormat::i64:
      break;
  }
  throw InternalError(fmt::format("no block product for format {}", to_string(format)));
}

// Writes one row's blocks into its lane of a group's tiles.
void pack_row(TileFormat format, const std::byte* row, int64_t blocks, int64_t lane,
              std::byte* tiles) {
  const bool eight_bits = format == TileFormat::q8_0;
  const int64_t halves = format == TileFormat::q4_1 ? 2 : 1;
  for (int64_t b = 0; b < blocks; ++b, tiles += tile_bytes(format)) {
    for (int64_t half = 0; half < halves; ++half, row += 2) {
      std::memcpy(tiles + half * 32 + lane * 2, row, 2);
    }
    std::byte* codes = tiles + halves * 32 + lane * 4;
    for (int64_t c = 0; c < (eight_bits ? 32 : 16); c += 4, codes += 64, row += 4) {
      std::memcpy(codes, row, 4);
      for (int64_t j = 0; eight_bits && j < 4; ++j) {
        codes[j] ^= std::byte{0x80};  // adds 128 to a signed byte
      }
    }
  }
}

// Groups of tiles multiplied with one row after another: some 40 KB of 8-bit codes, which the second row finds in the cache.
constexpr int64_t kGroupsAtOnce = 4;

// Fewer rows are multiplied by the thread that has them: a product is over before another would be awake.
constexpr int64_t kRowsForThreads = 8;

int64_t groups_a_thread(int64_t groups, int64_t rows) {
  return rows < kRowsForThreads ? std::max<int64_t>(groups, 1) : kGroupsAtOnce;
}

// An operand's arrays, kept by each thread so that a step allocates nothing.
struct OperandSpace {
  std::vector<float> sums;
  std::vector<float> scales;
  std::vector<int32_t> taken;   // what an offset of 1 takes from the upper sums, then the low ones
  std::vector<int32_t> shifts;  // what the format's does
  std::vector<int8_t> planes;
};

TileOperand prepare(const float* x, int64_t cols, TileFormat format, const VnniKernels* vnni,
                    OperandSpace& space) {
  TileOperand operand;
  operand.blocks = cols / kTileColumns;
  operand.values = x;
  if (format == TileFormat::q4_1) {
    space.sums.assign(operand.blocks, 0.0F);
    for (int64_t c = 0; c < cols; ++c) {
      space.sums[c / kTileColumns] += x[c];
    }
    operand.sums = space.sums.data();
  }
  if (vnni != nullptr) {
    space.scales.resize(operand.blocks);
    space.taken.resize(2 * operand.blocks);
    space.shifts.resize(2 * operand.blocks);
    space.planes.resize(3 * cols);
    int8_t* planes = space.planes.data();
    int32_t* taken = space.taken.data();
    vnni->split_row(x, operand.blocks, 1,
                    {planes, planes + cols, planes + 2 * cols, space.scales.data(), taken,
                     taken + operand.blocks});
    int32_t* shifts = space.shifts.data();
    for (int64_t i = 0; i < 2 * operand.blocks; ++i) {
      shifts[i] = offset_of(format) * taken[i];
    }
    operand.high = planes;
    operand.middle = planes + cols;
    operand.low = planes + 2 * cols;
    operand.scales = space.scales.data();
    operand.upper_shifts = shifts;
    operand.low_shifts = shifts + operand.blocks;
  }
  return operand;
}

}  // namespace

bool BlockMatrix::supports(const std::vector<const StoredTensor*>& parts) {
  for (const StoredTensor* part : parts) {
    if (block_bytes(part->format) == 0 || part->format != parts.front()->format ||
        part->shape.size() != 2 || part->shape[1] % kTileColumns != 0) {
      return false;
    }
  }
  return !parts.empty();
}

BlockMatrix::BlockMatrix(const std::vector<const StoredTensor*>& parts,
                         const std::vector<std::vector<int64_t>>& row_order)
    : format_(to_tile_format(parts.front()->format)), cols_(parts.front()->shape[1]) {
  ALLUVIUM_ASSERT(supports(parts));
  for (const StoredTensor* part : parts) {
    ALLUVIUM_ASSERT(part->shape[1] == cols_);
    rows_ += part->shape[0];
  }
  const int64_t blocks = cols_ / kTileColumns;
  const std::size_t row_bytes =
      static_cast<std::size_t>(blocks) * block_bytes(parts.front()->format);
  const std::size_t group_bytes = static_cast<std::size_t>(blocks) * tile_bytes(format_);
  // Rows that fill the last group are zero: scale 0, minimum 0.
  tiles_.resize(static_cast<std::size_t>((rows_ + kTileRows - 1) / kTileRows) * group_bytes);
  int64_t row = 0;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    for (int64_t r = 0; r < parts[p]->shape[0]; ++r, ++row) {
      const int64_t stored = row_order[p].empty() ? r : row_order[p][r];
      pack_row(format_, parts[p]->data + static_cast<std::size_t>(stored) * row_bytes, blocks,
               row % kTileRows,
               tiles_.data() + static_cast<std::size_t>(row / kTileRows) * group_bytes);
    }
  }
}

void BlockMatrix::multiply(const float* x, float* y, BlockArithmetic arithmetic) const {
  multiply_rows(x, 1, y, arithmetic);
}

void BlockMatrix::multiply_rows(const float* x, int64_t count, float* y,
                                BlockArithmetic arithmetic) const {
  thread_local std::vector<OperandSpace> spaces;
  thread_local std::vector<TileOperand> operands;
  const VnniKernels* vnni = arithmetic == BlockArithmetic::fastest ? vnni_kernels() : nullptr;
  spaces.resize(std::max(spaces.size(), static_cast<std::size_t>(count)));
  operands.clear();
  for (int64_t i = 0; i < count; ++i) {
    operands.push_back(prepare(x + i * cols_, cols_, format_, vnni, spaces[i]));
  }
  const std::vector<TileOperand>& prepared = operands;  // of this thread, seen by the others
  const TileProduct product = (vnni != nullptr ? vnni->products : float_tile_kernels()).of(format_);
  const std::size_t group_bytes =
      static_cast<std::size_t>(cols_ / kTileColumns) * tile_bytes(format_);
  const int64_t whole = rows_ / kTileRows;
  const int64_t tail = rows_ % kTileRows;
  at::parallel_for(0, whole, groups_a_thread(whole, count), [&](int64_t begin, int64_t end) {
    // A single row has nothing to find again.
    const int64_t step = count == 1 ? end - begin : kGroupsAtOnce;
    for (int64_t group = begin; group < end; group += step) {
      const std::byte* tiles = tiles_.data() + static_cast<std::size_t>(group) * group_bytes;
      for (int64_t i = 0; i < count; ++i) {
        product(tiles, std::min(step, end - group), prepared[i], y + i * rows_ + group * kTileRows);
      }
    }
  });
  for (int64_t i = 0; tail > 0 && i < count; ++i) {
    float last[kTileRows];
    product(tiles_.data() + static_cast<std::size_t>(whole) * group_bytes, 1, prepared[i], last);
    std::memcpy(y + i * rows_ + whole * kTileRows, last,
                static_cast<std::size_t>(tail) * sizeof(float));
  }
}

void BlockMatrix::multiply_adapted(const float* x, const LowRankBlocks& factors, float* y) const {
  ALLUVIUM_ASSERT(factors.in() == cols_ && factors.out() == rows_);
  thread_local OperandSpace space;
  thread_local std::vector<int32_t> shifts;
  thread_local std::vector<float> low;
  const VnniKernels* vnni = vnni_kernels();
  ALLUVIUM_ASSERT(vnni != nullptr);
  const TileOperand own = prepare(x, cols_, format_, vnni, space);
  TileOperand of_a = own;
  const int64_t blocks = own.blocks;
  shifts.resize(static_cast<std::size_t>(2 * blocks));
  for (int64_t i = 0; i < 2 * blocks; ++i) {
    shifts[i] = offset_of(TileFormat::q8_0) * space.taken[i];
  }
  of_a.upper_shifts = shifts.data();
  of_a.low_shifts = shifts.data() + blocks;
  low.resize(static_cast<std::size_t>(factors.groups() * kTileRows));
  factors.multiply_a(of_a, low.data());

  const std::size_t group_bytes = static_cast<std::size_t>(blocks) * tile_bytes(format_);
  const TileProduct product = vnni->products.of(format_);
  const int64_t whole = rows_ / kTileRows;
  product(tiles_.data(), whole, own, y);
  if (const int64_t tail = rows_ % kTileRows; tail > 0) {
    float rest[kTileRows];
    product(tiles_.data() + static_cast<std::size_t>(whole) * group_bytes, 1, own, rest);
    std::memcpy(y + whole * kTileRows, rest, static_cast<std::size_t>(tail) * sizeof(float));
  }
  factors.add_b(low.data(), 1, rows_, y);
}

bool BlockMatrix::multiplies_few() { return vnni_kernels() != nullptr; }

void BlockMatrix::multiply_few(const float* x, int64_t count, float* y,
                               std::span<const AdaptedBlocks> adapted) const {
  thread_local FewRowsSpace space;
  thread_local std::vector<int32_t> shifts;
  thread_local std::vector<int32_t> shifts_of_a;
  const VnniKernels* vnni = vnni_kernels();
  ALLUVIUM_ASSERT(vnni != nullptr);
  const int64_t blocks = cols_ / kTileColumns;
  space.split(*vnni, x, count, blocks);
  const FewRowsOperand operand = space.operand(offset_of(format_), shifts);
  const FewRowsProduct product = vnni->few_rows.of(format_);
  const std::size_t group_bytes = static_cast<std::size_t>(blocks) * tile_bytes(format_);
  const int64_t whole = rows_ / kTileRows;
  at::parallel_for(0, whole, groups_a_thread(whole, count), [&](int64_t begin, int64_t end) {
    product(tiles_.data() + static_cast<std::size_t>(begin) * group_bytes, end - begin, operand,
            rows_, y + begin * kTileRows);
  });
  if (const int64_t tail = rows_ % kTileRows; tail > 0) {
    std::vector<float> last(static_cast<std::size_t>(count * kTileRows));
    product(tiles_.data() + static_cast<std::size_t>(whole) * group_bytes, 1, operand, kTileRows,
            last.data());
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(y + i * rows_ + whole * kTileRows, last.data() + i * kTileRows,
                  static_cast<std::size_t>(tail) * sizeof(float));
    }
  }
  if (adapted.empty()) {
    return;
  }
  const FewRowsOperand of_a = space.operand(offset_of(TileFormat::q8_0), shifts_of_a);
  for (const AdaptedBlocks& run : adapted) {
    ALLUVIUM_ASSERT(run.factors->in() == cols_ && run.factors->out() == rows_ &&
                    run.begin + run.rows <= count);
    const int64_t grain = run.rows < kRowsForThreads ? run.rows : 1;
    at::parallel_for(run.begin, run.begin + run.rows, grain, [&](int64_t begin, int64_t end) {
      run.factors->add_rows(rows_of(of_a, begin, end - begin), rows_, y + begin * rows_);
    });
  }
}

}  // namespace alluvium::backbone
