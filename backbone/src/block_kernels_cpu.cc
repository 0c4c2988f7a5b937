// Compiled once for each instruction set. Sixteen rows are sixteen lanes; the compiler maps them to
// whatever registers there are.
#include <cstring>

#include "block_kernels.h"

namespace alluvium::backbone {
namespace {

// Two registers of eight rows each: what AVX2 has natively, and others split or join.
using Lanes = float __attribute__((vector_size(32)));
using Words = uint32_t __attribute__((vector_size(32)));
using SignedWords = int32_t __attribute__((vector_size(32)));

struct Rows {
  Lanes half[2];
};

// IEEE half to float by moving the bits; what the exponent lacks is made up by the product, which
// also normalises subnormal numbers.
Rows load_halves(const std::byte* at) {
  uint16_t bits[kTileRows];
  std::memcpy(bits, at, sizeof(bits));
  uint32_t wide[kTileRows];
  for (int64_t r = 0; r < kTileRows; ++r) {
    wide[r] = (bits[r] & 0x8000U) << 16 | (bits[r] & 0x7fffU) << 13;
  }
  Rows rows;
  std::memcpy(&rows, wide, sizeof(rows));
  constexpr float kExponent = 0x1p112F;
  rows.half[0] *= kExponent;
  rows.half[1] *= kExponent;
  return rows;
}

template <int kBits, int kOffset, bool kMinimum>
void product(const std::byte* tiles, int64_t groups, const TileOperand& x, float* y) {
  constexpr uint32_t kMask = (1U << kBits) - 1;
  const std::byte* at = tiles;
  for (int64_t g = 0; g < groups; ++g, y += kTileRows) {
    Rows total = {};
    for (int64_t b = 0; b < x.blocks; ++b) {
      const float* values = x.values + b * kTileColumns;
      const Rows scale = load_halves(at);
      at += 32;
      if constexpr (kMinimum) {
        const Rows minimum = load_halves(at);
        at += 32;
        total.half[0] += minimum.half[0] * x.sums[b];
        total.half[1] += minimum.half[1] * x.sums[b];
      }
      Rows dot = {};
      for (int64_t c = 0; c < kTileColumns * kBits / 8; c += 4, at += 64) {
        for (int64_t half = 0; half < 2; ++half) {
          Words words;
          std::memcpy(&words, at + half * 32, sizeof(words));
          for (int64_t j = 0; j < 4; ++j) {
            const auto first = __builtin_convertvector(words >> (8 * j) & kMask, SignedWords);
            dot.half[half] += __builtin_convertvector(first - kOffset, Lanes) * values[c + j];
            if constexpr (kBits == 4) {
              const auto second =
                  __builtin_convertvector(words >> (8 * j + 4) & kMask, SignedWords);
              dot.half[half] +=
                  __builtin_convertvector(second - kOffset, Lanes) * values[c + j + 16];
            }
          }
        }
      }
      total.half[0] += scale.half[0] * dot.half[0];
      total.half[1] += scale.half[1] * dot.half[1];
    }
    std::memcpy(y, &total, sizeof(total));
  }
}

}  // namespace

#define ALLUVIUM_JOIN_(a, b) a##b
#define ALLUVIUM_JOIN(a, b) ALLUVIUM_JOIN_(a, b)

extern const TileKernels ALLUVIUM_JOIN(kTileKernels_, ALLUVIUM_KERNEL_LEVEL);
const TileKernels ALLUVIUM_JOIN(kTileKernels_, ALLUVIUM_KERNEL_LEVEL) = {
    product<4, 8, false>, product<4, 0, true>, product<8, 128, false>};

}  // namespace alluvium::backbone
