#include "low_rank_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <c10/util/Half.h>

#include "alluvium/core/error.h"
#include "few_rows_space.h"

namespace alluvium::backbone {
namespace {

constexpr float kLargestCode = 127;
constexpr int kOffset = offset_of(TileFormat::q8_0);

std::byte code_of(float value, float scale) {
  const float code =
      scale == 0 ? 0 : std::clamp(std::nearbyint(value / scale), -kLargestCode, kLargestCode);
  return static_cast<std::byte>(static_cast<int>(code) + kOffset);
}

float largest_of(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::abs(values[i]));
  }
  return largest;
}

int64_t vectors_for(int64_t ranks) { return ranks <= 8 ? 2 : ranks <= 16 ? 4 : 8; }

std::size_t tile_of(int64_t vectors) { return static_cast<std::size_t>(64 + vectors * 64); }

}  // namespace

bool LowRankBlocks::supports(int64_t in) {
  return vnni_kernels() != nullptr && in % kTileColumns == 0;
}

LowRankBlocks::LowRankBlocks(const at::Tensor& a, const at::Tensor& b,
                             const std::vector<std::pair<int64_t, int64_t>>& spans)
    : in_(a.size(1)), out_(b.size(0)), groups_((a.size(0) + kTileRows - 1) / kTileRows) {
  ALLUVIUM_ASSERT(supports(in_) && a.size(0) == b.size(1) &&
                  static_cast<int64_t>(spans.size()) == a.size(0));
  pack_a(a.contiguous());
  const at::Tensor rows = b.contiguous();
  const auto ranks = static_cast<int64_t>(spans.size());
  for (int64_t first = 0; first < ranks;) {
    int64_t end = first + 1;
    while (end < ranks && end - first < kTileColumns && spans[end] == spans[first]) {
      ++end;
    }
    pieces_.push_back({first, end - first, spans[first].first, spans[first].second,
                       vectors_for(end - first), b_.size()});
    pack_b(rows, pieces_.back());
    first = end;
  }
}

void LowRankBlocks::pack_a(const at::Tensor& a) {
  const int64_t blocks = in_ / kTileColumns;
  const auto* values = a.const_data_ptr<float>();
  // Scales are half-precision numbers, which are exact to 11 bits between 2^-14 and 2^16: the largest number becomes some 2^14, and
  // one that is a millionth of it keeps its bits.
  const float largest = largest_of(values, a.numel());
  unit_ = largest > 0 ? std::ldexp(1.0F, std::clamp(14 - std::ilogb(largest), -100, 100)) : 1.0F;
  a_.assign(static_cast<std::size_t>(groups_ * blocks) * tile_bytes(TileFormat::q8_0),
            std::byte{kOffset});
  std::byte* tile = a_.data();
  for (int64_t g = 0; g < groups_; ++g) {
    for (int64_t block = 0; block < blocks; ++block, tile += tile_bytes(TileFormat::q8_0)) {
      for (int64_t lane = 0; lane < kTileRows; ++lane) {
        const int64_t r = g * kTileRows + lane;
        const float* row = values + r * in_ + block * kTileColumns;
        const c10::Half scale =
            r < a.size(0) ? unit_ * largest_of(row, kTileColumns) / kLargestCode : 0.0F;
        std::memcpy(tile + lane * 2, &scale.x, 2);
        for (int64_t c = 0; r < a.size(0) && c < kTileColumns; ++c) {
          tile[32 + c / 4 * 64 + lane * 4 + c % 4] =
              code_of(unit_ * row[c], static_cast<float>(scale));
        }
      }
    }
  }
}

void LowRankBlocks::pack_b(const at::Tensor& b, Piece& piece) {
  const auto* values = b.const_data_ptr<float>();
  const int64_t groups = (piece.end - piece.begin + kTileRows - 1) / kTileRows;
  b_.resize(b_.size() + static_cast<std::size_t>(groups) * tile_of(piece.vectors),
            std::byte{kOffset});
  std::byte* tile = b_.data() + piece.tiles;
  for (int64_t g = 0; g < groups; ++g, tile += tile_of(piece.vectors)) {
    for (int64_t lane = 0; lane < kTileRows; ++lane) {
      const int64_t o = piece.begin + g * kTileRows + lane;
      const float* row = values + o * b.size(1) + piece.first_rank;
      const float scale = o < piece.end ? largest_of(row, piece.ranks) / kLargestCode : 0.0F;
      const float unscaled = scale / unit_;
      std::memcpy(tile + lane * 4, &unscaled, 4);
      for (int64_t r = 0; o < piece.end && r < piece.ranks; ++r) {
        tile[64 + r / 4 * 64 + lane * 4 + r % 4] = code_of(row[r], scale);
      }
    }
  }
}

void LowRankBlocks::multiply_a(const TileOperand& x, float* low) const {
  vnni_kernels()->products.q8_0(a_.data(), groups_, x, low);
}

void LowRankBlocks::add_b(const float* low, int64_t count, int64_t stride, float* y) const {
  thread_local std::vector<float> apart;
  thread_local FewRowsSpace space;
  thread_local std::vector<int32_t> shifts;
  const auto pieces = static_cast<int64_t>(pieces_.size());
  // Each piece gets a block of its own and so a scale of its own.
  apart.assign(static_cast<std::size_t>(count * pieces * kTileColumns), 0.0F);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t p = 0; p < pieces; ++p) {
      std::memcpy(apart.data() + (i * pieces + p) * kTileColumns,
                  low + i * groups_ * kTileRows + pieces_[p].first_rank,
                  static_cast<std::size_t>(pieces_[p].ranks) * sizeof(float));
    }
  }
  const VnniKernels& vnni = *vnni_kernels();
  space.split(vnni, apart.data(), count, pieces);
  const FewRowsOperand operand = space.operand(kOffset, shifts);
  for (int64_t p = 0; p < pieces; ++p) {
    const Piece& piece = pieces_[p];
    vnni.add_narrow(b_.data() + piece.tiles, piece.end - piece.begin, piece.vectors, operand, p,
                    stride, y + piece.begin);
  }
}

void LowRankBlocks::add_rows(const FewRowsOperand& x, int64_t stride, float* y) const {
  thread_local std::vector<float> low;
  low.resize(std::max(low.size(), static_cast<std::size_t>(x.rows * groups_ * kTileRows)));
  vnni_kernels()->few_rows.q8_0(a_.data(), groups_, x, groups_ * kTileRows, low.data());
  add_b(low.data(), x.rows, stride, y);
}

void LowRankBlocks::add_rows(const float* x, int64_t count, int64_t stride, float* y) const {
  thread_local FewRowsSpace space;
  thread_local std::vector<int32_t> shifts;
  space.split(*vnni_kernels(), x, count, in_ / kTileColumns);
  add_rows(space.operand(kOffset, shifts), stride, y);
}

}  // namespace alluvium::backbone
