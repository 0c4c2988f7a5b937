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

void split_row(const float* x, int64_t blocks, int32_t offset, const SplitRow& out) {
  constexpr float kBound = (1 << 21) - 1;
  const __m512i seven_bits = _mm512_set1_epi32(127);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t first = b * kTileColumns;
    const __m512 halves[2] = {_mm512_loadu_ps(x + first), _mm512_loadu_ps(x + first + 16)};
    // Not-a-number compares false, so its bits must be looked at: exponents of all ones.
    const __mmask16 broken =
        _mm512_fpclass_ps_mask(halves[0], 0x99) | _mm512_fpclass_ps_mask(halves[1], 0x99);
    const float largest =
        _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1])));
    const bool usable = broken == 0 && largest > 0x1p-100F;
    const float factor = usable ? kBound / largest : 0.0F;
    __m512i upper_sum = _mm512_setzero_si512();
    __m512i low_sum = _mm512_setzero_si512();
    for (int64_t half = 0; half < 2; ++half) {
      const __m512i q =
          usable ? _mm512_cvtps_epi32(_mm512_mul_ps(halves[half], _mm512_set1_ps(factor)))
                 : _mm512_setzero_si512();
      const __m512i low = _mm512_and_si512(q, seven_bits);
      const __m512i upper = _mm512_srai_epi32(q, 7);
      low_sum = _mm512_add_epi32(low_sum, low);
      upper_sum = _mm512_add_epi32(upper_sum, upper);
      const auto put = [&](int8_t* plane, __m512i bytes) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(plane + first + half * 16),
                         _mm512_cvtepi32_epi8(bytes));
      };
      put(out.low, low);
      put(out.middle, _mm512_and_si512(upper, seven_bits));
      put(out.high, _mm512_srai_epi32(upper, 7));
    }
    out.scales[b] = broken != 0 ? std::numeric_limits<float>::quiet_NaN()
                    : usable    ? largest / kBound
                                : 0.0F;
    out.upper_shifts[b] = -offset * _mm512_reduce_add_epi32(upper_sum);
    out.low_shifts[b] = -offset * _mm512_reduce_add_epi32(low_sum);
  }
}

}  // namespace

extern const VnniKernels kVnniKernels;
const VnniKernels kVnniKernels = {split_row,
                                  {product<4, false>, product<4, true>, product<8, false>}};

}  // namespace alluvium::backbone
