// Compiled for AVX-512 with VNNI: vpdpbusd multiplies sixteen lanes of four codes with four whole
// numbers of the row and adds them up in 32 bits, exactly.
#include <cstring>
#include <immintrin.h>
#include <limits>

#include "block_kernels.h"

namespace alluvium::backbone {
namespace {

inline __m512i four_columns(const int8_t* plane) {
  int32_t bytes = 0;
  std::memcpy(&bytes, plane, sizeof(bytes));
  return _mm512_set1_epi32(bytes);
}

inline __m512 load_halves(const std::byte* at) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

struct Sums {
  __m512i high;
  __m512i middle;
  __m512i low;

  void add(__m512i codes, const TileOperand& x, int64_t column) {
    high = _mm512_dpbusd_epi32(high, codes, four_columns(x.high + column));
    middle = _mm512_dpbusd_epi32(middle, codes, four_columns(x.middle + column));
    low = _mm512_dpbusd_epi32(low, codes, four_columns(x.low + column));
  }

  // The sums of code * q. With 4-bit codes they stay below 2^31, by the bound on q.
  template <int kBits>
  __m512 joined() const {
    const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(high, 7), middle);
    if constexpr (kBits == 4) {
      return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(upper, 7), low));
    }
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(upper), _mm512_set1_ps(128.0F),
                           _mm512_cvtepi32_ps(low));
  }
};

template <int kBits, bool kMinimum>
void product(const std::byte* tiles, int64_t groups, const TileOperand& x, float* y) {
  const __m512i low_bits = _mm512_set1_epi8(0x0f);
  const std::byte* at = tiles;
  for (int64_t g = 0; g < groups; ++g, y += kTileRows) {
    __m512 total = _mm512_setzero_ps();
    for (int64_t b = 0; b < x.blocks; ++b) {
      const __m512 scale = _mm512_mul_ps(load_halves(at), _mm512_set1_ps(x.scales[b]));
      at += 32;
      if constexpr (kMinimum) {
        total = _mm512_fmadd_ps(load_halves(at), _mm512_set1_ps(x.sums[b]), total);
        at += 32;
      }
      Sums sums = {_mm512_setzero_si512(), _mm512_set1_epi32(x.upper_shifts[b]),
                   _mm512_set1_epi32(x.low_shifts[b])};
      const int64_t first = b * kTileColumns;
      for (int64_t c = 0; c < kTileColumns * kBits / 8; c += 4, at += 64) {
        const __m512i codes = _mm512_loadu_si512(at);
        if constexpr (kBits == 4) {
          sums.add(_mm512_and_si512(codes, low_bits), x, first + c);
          sums.add(_mm512_and_si512(_mm512_srli_epi16(codes, 4), low_bits), x, first + c + 16);
        } else {
          sums.add(codes, x, first + c);
        }
      }
      total = _mm512_fmadd_ps(sums.joined<kBits>(), scale, total);
    }
    _mm512_storeu_ps(y, total);
  }
}

constexpr int64_t kFewAtOnce =
    12;  // with the eight vectors of a tile's codes they fill the registers

template <int kBits, bool kMinimum, int64_t kRows>
void few_rows(const std::byte* tiles, int64_t groups, const FewRowsOperand& x, int64_t row,
              int64_t stride, float* y) {
  constexpr int64_t kVectors = kTileColumns / 4;
  const __m512i low_bits = _mm512_set1_epi8(0x0f);
  const std::byte* at = tiles;
  for (int64_t g = 0; g < groups; ++g) {
    __m512 totals[kRows];
    for (__m512& total : totals) {
      total = _mm512_setzero_ps();
    }
    for (int64_t b = 0; b < x.blocks; ++b) {
      const __m512 scale = load_halves(at);
      at += 32;
      __m512 minimum = _mm512_setzero_ps();
      if constexpr (kMinimum) {
        minimum = load_halves(at);
        at += 32;
      }
      __m512i codes[kVectors];
      for (int64_t v = 0; v < kVectors * kBits / 8; ++v, at += 64) {
        codes[v] = _mm512_loadu_si512(at);
        if constexpr (kBits == 4) {
          codes[v + 4] = _mm512_and_si512(_mm512_srli_epi16(codes[v], 4), low_bits);
          codes[v] = _mm512_and_si512(codes[v], low_bits);
        }
      }
      for (int64_t r = 0; r < kRows; ++r) {
        const int64_t block = (row + r) * x.blocks + b;
        const int8_t* high = x.high + block * kTileColumns;
        const int8_t* low = x.low + block * kTileColumns;
        __m512i upper = _mm512_setzero_si512();
        __m512i lower = _mm512_set1_epi32(kMinimum ? 0 : x.shifts[block]);
        for (int64_t v = 0; v < kVectors; ++v) {
          upper = _mm512_dpbusd_epi32(upper, codes[v], four_columns(high + 4 * v));
          lower = _mm512_dpbusd_epi32(lower, codes[v], four_columns(low + 4 * v));
        }
        // Below 2^28 also with 8-bit codes.
        const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(upper, 7), lower);
        totals[r] =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum),
                            _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[block])), totals[r]);
        if constexpr (kMinimum) {
          totals[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(x.sums[block]), totals[r]);
        }
      }
    }
    for (int64_t r = 0; r < kRows; ++r) {
      _mm512_storeu_ps(y + (row + r) * stride + g * kTileRows, totals[r]);
    }
  }
}

// Calls the instance for `rows` rows.
template <int kBits, bool kMinimum, int64_t kRows>
void pick_few_rows(const std::byte* tiles, int64_t groups, const FewRowsOperand& x, int64_t row,
                   int64_t rows, int64_t stride, float* y) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      few_rows<kBits, kMinimum, kRows>(tiles, groups, x, row, stride, y);
    } else {
      pick_few_rows<kBits, kMinimum, kRows - 1>(tiles, groups, x, row, rows, stride, y);
    }
  }
}

template <int kBits, bool kMinimum>
void few_rows_product(const std::byte* tiles, int64_t groups, const FewRowsOperand& x,
                      int64_t stride, float* y) {
  constexpr auto kFormat = kBits == 8 ? TileFormat::q8_0
                           : kMinimum ? TileFormat::q4_1
                                      : TileFormat::q4_0;
  const std::size_t group_bytes = static_cast<std::size_t>(x.blocks) * tile_bytes(kFormat);
  const int64_t passes = (x.rows + kFewAtOnce - 1) / kFewAtOnce;
  // A group's tiles stay in the first cache for all passes.
  for (int64_t g = 0; g < groups; ++g, tiles += group_bytes, y += kTileRows) {
    for (int64_t p = 0; p < passes; ++p) {
      const int64_t begin = x.rows * p / passes;
      const int64_t end = x.rows * (p + 1) / passes;
      pick_few_rows<kBits, kMinimum, kFewAtOnce>(tiles, 1, x, begin, end - begin, stride, y);
    }
  }
}

template <int64_t kRows, int64_t kVectors>
void add_narrow_rows(const std::byte* tiles, int64_t rows, const FewRowsOperand& x, int64_t block,
                     int64_t row, int64_t stride, float* y) {
  const std::byte* at = tiles;
  for (int64_t r = 0; r < rows; r += kTileRows) {
    const auto lanes =
        static_cast<__mmask16>(rows - r < kTileRows ? (1U << (rows - r)) - 1 : 0xffffU);
    const __m512 scale = _mm512_loadu_ps(at);
    at += 64;
    __m512i codes[kVectors];
    for (int64_t v = 0; v < kVectors; ++v, at += 64) {
      codes[v] = _mm512_loadu_si512(at);
    }
    for (int64_t i = row; i < row + kRows; ++i) {
      const int64_t own = i * x.blocks + block;
      const int8_t* high = x.high + own * kTileColumns;
      const int8_t* low = x.low + own * kTileColumns;
      __m512i upper = _mm512_setzero_si512();
      __m512i lower = _mm512_set1_epi32(x.shifts[own]);
      for (int64_t v = 0; v < kVectors; ++v) {
        upper = _mm512_dpbusd_epi32(upper, codes[v], four_columns(high + 4 * v));
        lower = _mm512_dpbusd_epi32(lower, codes[v], four_columns(low + 4 * v));
      }
      const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(upper, 7), lower);
      float* to = y + i * stride + r;
      const __m512 before = _mm512_maskz_loadu_ps(lanes, to);
      _mm512_mask_storeu_ps(
          to, lanes,
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum),
                          _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[own])), before));
    }
  }
}

// As pick_few_rows.
template <int64_t kVectors, int64_t kRows>
void pick_narrow_rows(const std::byte* tiles, int64_t rows, const FewRowsOperand& x, int64_t block,
                      int64_t row, int64_t count, int64_t stride, float* y) {
  if constexpr (kRows > 0) {
    if (count == kRows) {
      add_narrow_rows<kRows, kVectors>(tiles, rows, x, block, row, stride, y);
    } else {
      pick_narrow_rows<kVectors, kRows - 1>(tiles, rows, x, block, row, count, stride, y);
    }
  }
}

void add_narrow(const std::byte* tiles, int64_t rows, int64_t vectors, const FewRowsOperand& x,
                int64_t block, int64_t stride, float* y) {
  const auto pick = vectors == 2   ? pick_narrow_rows<2, kFewAtOnce>
                    : vectors == 4 ? pick_narrow_rows<4, kFewAtOnce>
                                   : pick_narrow_rows<8, kFewAtOnce>;
  const int64_t passes = (x.rows + kFewAtOnce - 1) / kFewAtOnce;
  for (int64_t p = 0; p < passes; ++p) {
    const int64_t begin = x.rows * p / passes;
    const int64_t end = x.rows * (p + 1) / passes;
    pick(tiles, rows, x, block, begin, end - begin, stride, y);
  }
}

// What both splits need of a block.
struct Block {
  __m512 halves[2];
  bool broken;  // a number is not finite
  float largest;

  explicit Block(const float* x) : halves{_mm512_loadu_ps(x), _mm512_loadu_ps(x + 16)} {
    // Not-a-number compares false, so its bits must be looked at: exponents of all ones.
    broken =
        (_mm512_fpclass_ps_mask(halves[0], 0x99) | _mm512_fpclass_ps_mask(halves[1], 0x99)) != 0;
    largest =
        _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1])));
  }

  bool usable() const { return !broken && largest > 0x1p-100F; }

  // Whole numbers of at most `bound`.
  __m512i whole(int64_t half, float bound) const {
    return usable()
               ? _mm512_cvtps_epi32(_mm512_mul_ps(halves[half], _mm512_set1_ps(bound / largest)))
               : _mm512_setzero_si512();
  }

  float scale(float bound) const {
    return broken ? std::numeric_limits<float>::quiet_NaN() : usable() ? largest / bound : 0.0F;
  }
};

inline void put_bytes(int8_t* to, __m512i numbers) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(numbers));
}

void split_few(const float* x, int64_t blocks, int32_t offset, const SplitFewRow& out) {
  constexpr float kBound = (1 << 14) - 1;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t first = b * kTileColumns;
    const Block block(x + first);
    __m512i sum = _mm512_setzero_si512();
    for (int64_t half = 0; half < 2; ++half) {
      const __m512i q = block.whole(half, kBound);
      sum = _mm512_add_epi32(sum, q);
      put_bytes(out.low + first + half * 16, _mm512_and_si512(q, _mm512_set1_epi32(127)));
      put_bytes(out.high + first + half * 16, _mm512_srai_epi32(q, 7));
    }
    out.scales[b] = block.scale(kBound);
    out.sums[b] = _mm512_reduce_add_ps(_mm512_add_ps(block.halves[0], block.halves[1]));
    out.shifts[b] = -offset * _mm512_reduce_add_epi32(sum);
  }
}

void split_row(const float* x, int64_t blocks, int32_t offset, const SplitRow& out) {
  constexpr float kBound = (1 << 21) - 1;
  const __m512i seven_bits = _mm512_set1_epi32(127);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t first = b * kTileColumns;
    const Block block(x + first);
    __m512i upper_sum = _mm512_setzero_si512();
    __m512i low_sum = _mm512_setzero_si512();
    for (int64_t half = 0; half < 2; ++half) {
      const __m512i q = block.whole(half, kBound);
      const __m512i low = _mm512_and_si512(q, seven_bits);
      const __m512i upper = _mm512_srai_epi32(q, 7);
      low_sum = _mm512_add_epi32(low_sum, low);
      upper_sum = _mm512_add_epi32(upper_sum, upper);
      put_bytes(out.low + first + half * 16, low);
      put_bytes(out.middle + first + half * 16, _mm512_and_si512(upper, seven_bits));
      put_bytes(out.high + first + half * 16, _mm512_srai_epi32(upper, 7));
    }
    out.scales[b] = block.scale(kBound);
    out.upper_shifts[b] = -offset * _mm512_reduce_add_epi32(upper_sum);
    out.low_shifts[b] = -offset * _mm512_reduce_add_epi32(low_sum);
  }
}

}  // namespace

extern const VnniKernels kVnniKernels;
const VnniKernels kVnniKernels = {
    split_row,
    {product<4, false>, product<4, true>, product<8, false>},
    split_few,
    {few_rows_product<4, false>, few_rows_product<4, true>, few_rows_product<8, false>},
    add_narrow};

}  // namespace alluvium::backbone
