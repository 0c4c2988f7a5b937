// The arrays behind a FewRowsOperand.
//
// Purpose: rows are split into whole numbers once and meet codes of several formats: the matrix' own and the 8-bit ones of an adapter.
// Threads: owned by one thread; operands made of it may be read by many.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "block_kernels.h"

namespace alluvium::backbone {

class FewRowsSpace {
 public:
  /// Splits x: [rows, blocks * 32]. Arrays only grow, so that one kept by a thread soon allocates nothing.
  void split(const VnniKernels& vnni, const float* x, int64_t rows, int64_t blocks) {
    rows_ = rows;
    blocks_ = blocks;
    const auto all = static_cast<std::size_t>(rows * blocks);
    if (scales_.size() < all) {
      high_.resize(all * kTileColumns);
      low_.resize(all * kTileColumns);
      scales_.resize(all);
      sums_.resize(all);
      taken_.resize(all);
    }
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t first = i * blocks;
      vnni.split_few(x + first * kTileColumns, blocks, 1,
                     {high_.data() + first * kTileColumns, low_.data() + first * kTileColumns,
                      scales_.data() + first, sums_.data() + first, taken_.data() + first});
    }
  }

  /// For codes that stand `offset` above their values. `shifts` are the operand's own; it and the space must outlive it.
  FewRowsOperand operand(int32_t offset, std::vector<int32_t>& shifts) const {
    const auto all = static_cast<std::size_t>(rows_ * blocks_);
    shifts.resize(std::max(shifts.size(), all));
    for (std::size_t i = 0; i < all; ++i) {
      shifts[i] = offset * taken_[i];
    }
    return {rows_, blocks_, high_.data(), low_.data(), scales_.data(), sums_.data(), shifts.data()};
  }

 private:
  int64_t rows_ = 0;
  int64_t blocks_ = 0;
  std::vector<int8_t> high_;
  std::vector<int8_t> low_;
  std::vector<float> scales_;
  std::vector<float> sums_;
  std::vector<int32_t> taken_;  // what an offset of 1 takes
};

/// Rows [begin, begin + count) of an operand.
inline FewRowsOperand rows_of(const FewRowsOperand& all, int64_t begin, int64_t count) {
  const int64_t first = begin * all.blocks;
  return {count,
          all.blocks,
          all.high + first * kTileColumns,
          all.low + first * kTileColumns,
          all.scales + first,
          all.sums + first,
          all.shifts + first};
}

}  // namespace alluvium::backbone
