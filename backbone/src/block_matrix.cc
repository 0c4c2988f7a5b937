#include "block_matrix.h"

#include <cstring>
#include <immintrin.h>

#include <ATen/Parallel.h>
#include <c10/util/Half.h>

#include "alluvium/core/error.h"

namespace alluvium::backbone {
namespace {

constexpr int64_t kBlockColumns = 32;

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

// One row times x. `sums` holds the sum of x over each block: the part of a minimum or an offset
// that needs no weights.
using RowProduct = float (*)(const std::byte* row, int64_t blocks, const float* x,
                             const float* sums);

float half_at(const std::byte* at) {
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof(bits));
  return static_cast<float>(c10::Half(bits, c10::Half::from_bits()));
}

template <bool HasMinimum>
float product_q4_plain(const std::byte* row, int64_t blocks, const float* x, const float* sums) {
  float total = 0;
  for (int64_t b = 0; b < blocks; ++b, x += kBlockColumns) {
    const float scale = half_at(row);
    const float offset = HasMinimum ? half_at(row + 2) : -8.0F * scale;
    const std::byte* codes = row + (HasMinimum ? 4 : 2);
    float dot = 0;
    for (int64_t i = 0; i < 16; ++i) {
      const auto code = static_cast<uint8_t>(codes[i]);
      dot += static_cast<float>(code & 0x0f) * x[i] + static_cast<float>(code >> 4) * x[i + 16];
    }
    total += scale * dot + offset * sums[b];
    row = codes + 16;
  }
  return total;
}

float product_q8_plain(const std::byte* row, int64_t blocks, const float* x, const float*) {
  float total = 0;
  for (int64_t b = 0; b < blocks; ++b, x += kBlockColumns, row += 34) {
    float dot = 0;
    for (int64_t i = 0; i < kBlockColumns; ++i) {
      dot += static_cast<float>(static_cast<int8_t>(row[2 + i])) * x[i];
    }
    total += half_at(row) * dot;
  }
  return total;
}

#define ALLUVIUM_AVX2 __attribute__((target("avx2,fma,f16c")))
#define ALLUVIUM_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,f16c,fma")))

ALLUVIUM_AVX2 inline float half_avx(const std::byte* at) {
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof(bits));
  return _cvtsh_ss(bits);
}

ALLUVIUM_AVX2 inline float sum_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

ALLUVIUM_AVX2 inline __m256 eight_codes(__m128i codes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes));
}

template <bool HasMinimum>
ALLUVIUM_AVX2 float product_q4_avx2(const std::byte* row, int64_t blocks, const float* x,
                                    const float* sums) {
  const __m128i low_bits = _mm_set1_epi8(0x0f);
  __m256 total = _mm256_setzero_ps();
  float offsets = 0;
  for (int64_t b = 0; b < blocks; ++b, x += kBlockColumns) {
    const float scale = half_avx(row);
    offsets += (HasMinimum ? half_avx(row + 2) : -8.0F * scale) * sums[b];
    row += HasMinimum ? 4 : 2;
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
    const __m128i low = _mm_and_si128(codes, low_bits);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(codes, 4), low_bits);
    __m256 dot = _mm256_mul_ps(eight_codes(low), _mm256_loadu_ps(x));
    dot = _mm256_fmadd_ps(eight_codes(_mm_srli_si128(low, 8)), _mm256_loadu_ps(x + 8), dot);
    dot = _mm256_fmadd_ps(eight_codes(high), _mm256_loadu_ps(x + 16), dot);
    dot = _mm256_fmadd_ps(eight_codes(_mm_srli_si128(high, 8)), _mm256_loadu_ps(x + 24), dot);
    total = _mm256_fmadd_ps(_mm256_set1_ps(scale), dot, total);
    row += 16;
  }
  return sum_lanes(total) + offsets;
}

ALLUVIUM_AVX2 float product_q8_avx2(const std::byte* row, int64_t blocks, const float* x,
                                    const float*) {
  __m256 total = _mm256_setzero_ps();
  for (int64_t b = 0; b < blocks; ++b, x += kBlockColumns, row += 34) {
    __m256 dot = _mm256_setzero_ps();
    for (int64_t i = 0; i < kBlockColumns; i += 8) {
      const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + 2 + i));
      dot = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)), _mm256_loadu_ps(x + i),
                            dot);
    }
    total = _mm256_fmadd_ps(_mm256_set1_ps(half_avx(row)), dot, total);
  }
  return sum_lanes(total);
}

ALLUVIUM_AVX512 inline __m512 broadcast_half(const std::byte* at) {
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof(bits));
  return _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<int16_t>(bits)));
}

template <bool HasMinimum>
ALLUVIUM_AVX512 float product_q4_avx512(const std::byte* row, int64_t blocks, const float* x,
                                        const float* sums) {
  const __m128i low_bits = _mm_set1_epi8(0x0f);
  __m512 even = _mm512_setzero_ps();
  __m512 odd = _mm512_setzero_ps();
  float offsets = 0;
  for (int64_t b = 0; b < blocks; ++b, x += kBlockColumns) {
    const __m512 scale = broadcast_half(row);
    const float offset = HasMinimum ? half_avx(row + 2) : -8.0F * _mm512_cvtss_f32(scale);
    offsets += offset * sums[b];
    row += HasMinimum ? 4 : 2;
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
    const __m128i low = _mm_and_si128(codes, low_bits);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(codes, 4), low_bits);
    const __m512 first =
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(low)), _mm512_loadu_ps(x));
    const __m512 dot = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(high)),
                                       _mm512_loadu_ps(x + 16), first);
    // Two sums, because a fused multiply-add waits for the one before it.
    __m512& total = (b & 1) == 0 ? even : odd;
    total = _mm512_fmadd_ps(scale, dot, total);
    row += 16;
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(even, odd)) + offsets;
}

ALLUVIUM_AVX512 float product_q8_avx512(const std::byte* row, int64_t blocks, const float* x,
                                        const float*) {
  __m512 total = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; ++b, x += kBlockColumns, row += 34) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 18));
    const __m512 first =
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(low)), _mm512_loadu_ps(x));
    const __m512 dot = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(high)),
                                       _mm512_loadu_ps(x + 16), first);
    total = _mm512_fmadd_ps(broadcast_half(row), dot, total);
  }
  return _mm512_reduce_add_ps(total);
}

RowProduct choose_product(StorageFormat format) {
  const bool avx512 = __builtin_cpu_supports("avx512bw") != 0 &&
                      __builtin_cpu_supports("avx512vl") != 0 &&
                      __builtin_cpu_supports("avx512dq") != 0;
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  switch (format) {
    case StorageFormat::q4_0:
      return avx512 ? product_q4_avx512<false>
                    : (avx2 ? product_q4_avx2<false> : product_q4_plain<false>);
    case StorageFormat::q4_1:
      return avx512 ? product_q4_avx512<true>
                    : (avx2 ? product_q4_avx2<true> : product_q4_plain<true>);
    case StorageFormat::q8_0:
      return avx512 ? product_q8_avx512 : (avx2 ? product_q8_avx2 : product_q8_plain);
    case StorageFormat::f32:
    case StorageFormat::f16:
    case StorageFormat::bf16:
    case StorageFormat::i64:
      break;
  }
  throw InternalError(fmt::format("no block product for format {}", to_string(format)));
}

}  // namespace

bool BlockMatrix::supports(const std::vector<const StoredTensor*>& parts) {
  for (const StoredTensor* part : parts) {
    if (block_bytes(part->format) == 0 || part->format != parts.front()->format ||
        part->shape.size() != 2 || part->shape[1] % kBlockColumns != 0) {
      return false;
    }
  }
  return !parts.empty();
}

BlockMatrix::BlockMatrix(const std::vector<const StoredTensor*>& parts,
                         const std::vector<std::vector<int64_t>>& row_order)
    : format_(parts.front()->format), cols_(parts.front()->shape[1]) {
  ALLUVIUM_ASSERT(supports(parts));
  const std::size_t row_bytes =
      static_cast<std::size_t>(cols_ / kBlockColumns) * block_bytes(format_);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const StoredTensor& part = *parts[p];
    ALLUVIUM_ASSERT(part.shape[1] == cols_);
    const std::size_t before = blocks_.size();
    blocks_.resize(before + part.bytes);
    for (int64_t r = 0; r < part.shape[0]; ++r) {
      const int64_t stored = row_order[p].empty() ? r : row_order[p][r];
      std::memcpy(blocks_.data() + before + static_cast<std::size_t>(r) * row_bytes,
                  part.data + static_cast<std::size_t>(stored) * row_bytes, row_bytes);
    }
    rows_ += part.shape[0];
  }
}

void BlockMatrix::multiply(const float* x, float* y) const {
  const int64_t blocks = cols_ / kBlockColumns;
  const std::size_t row_bytes = static_cast<std::size_t>(blocks) * block_bytes(format_);
  std::vector<float> sums(static_cast<std::size_t>(blocks));
  for (int64_t b = 0; b < blocks; ++b) {
    float sum = 0;
    for (int64_t i = 0; i < kBlockColumns; ++i) {
      sum += x[b * kBlockColumns + i];
    }
    sums[b] = sum;
  }
  const RowProduct product = choose_product(format_);
  at::parallel_for(0, rows_, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      y[r] =
          product(blocks_.data() + static_cast<std::size_t>(r) * row_bytes, blocks, x, sums.data());
    }
  });
}

}  // namespace alluvium::backbone
