// Compiled for AVX-512 with BF16: vdpbf16ps adds two products of bfloat16 to each of sixteen float32 sums.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <immintrin.h>
#include <limits>

#include "flash_kernels.h"

namespace alluvium::backbone {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kVectors = kFlashTile / kLanes;  // of a tile's scores
constexpr int64_t kRows = 8;  // scored at once: with two vectors of slots sixteen sums in registers
constexpr int64_t kValueRows = 4;  // weighed at once: with four vectors of dimensions likewise
constexpr float kLowest = -std::numeric_limits<float>::infinity();

inline uint32_t pair_of(const Bf16& first, const Bf16& second) {
  return uint32_t{first.bits} | uint32_t{second.bits} << 16;
}

inline __m512bh load(const uint32_t* at) {
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(at));
}

inline __m512bh broadcast(const Bf16* pair) {
  int32_t bits = 0;
  std::memcpy(&bits, pair, sizeof(bits));
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(bits));
}

// 2^(x / ln 2) by a polynomial on [-1/2, 1/2], relative error below 3e-6; what is under e^-87 becomes that.
inline __m512 exponential(__m512 x) {
  x = _mm512_max_ps(x, _mm512_set1_ps(-87.0F));
  const __m512 power = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504F));
  const __m512 whole = _mm512_roundscale_ps(power, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(power, whole);
  __m512 sum = _mm512_set1_ps(1.33335581e-3F);
  for (const float coefficient :
       {9.61812910e-3F, 5.55041087e-2F, 2.40226507e-1F, 6.93147181e-1F, 1.0F}) {
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(coefficient));
  }
  return _mm512_scalef_ps(sum, whole);
}

void pack_keys(const Bf16* keys, int64_t slots, int64_t head_dim, uint32_t* packed) {
  const int64_t pairs = head_dim / 2;
  const __m512i lanes =
      _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                         _mm512_set1_epi32(static_cast<int32_t>(pairs)));
  for (int64_t slot = 0; slot < flash_tiles(slots) * kFlashTile; slot += kLanes) {
    const int64_t there = std::clamp<int64_t>(slots - slot, 0, kLanes);
    const auto mask = static_cast<__mmask16>((1U << there) - 1U);
    uint32_t* to = packed + slot / kFlashTile * kFlashTile * pairs + slot % kFlashTile;
    const Bf16* from = keys + std::min(slot, slots) * head_dim;
    for (int64_t p = 0; p < pairs; ++p) {
      const __m512i words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), mask, lanes,
                                                        from + 2 * p, sizeof(uint32_t));
      _mm512_storeu_si512(to + p * kFlashTile, words);
    }
  }
}

void pack_values(const Bf16* values, int64_t slots, int64_t head_dim, uint32_t* packed) {
  for (int64_t slot = 0; slot < flash_tiles(slots) * kFlashTile; slot += 2, packed += head_dim) {
    const Bf16* first = values + slot * head_dim;
    const Bf16* second = first + head_dim;
    if (slot + 1 < slots) {
      for (int64_t d = 0; d < head_dim; ++d) {
        packed[d] = pair_of(first[d], second[d]);
      }
    } else if (slot < slots) {
      for (int64_t d = 0; d < head_dim; ++d) {
        packed[d] = pair_of(first[d], Bf16{0});
      }
    } else {
      std::memset(packed, 0, static_cast<std::size_t>(head_dim) * sizeof(uint32_t));
    }
  }
}

// Products of some rows with the slots of a packed tile, unscaled, in pieces of two vectors: use(row, piece, left, right).
template <int64_t kAtOnce, class Use>
inline void score(const Bf16* queries, const uint32_t* tile, int64_t head_dim, const Use& use) {
  for (int64_t piece = 0; piece < kVectors; piece += 2) {
    __m512 sums[kAtOnce][2];
    for (int64_t r = 0; r < kAtOnce; ++r) {
      sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    }
    const uint32_t* keys = tile + piece * kLanes;
    for (int64_t p = 0; p < head_dim / 2; ++p, keys += kFlashTile) {
      const __m512bh left = load(keys);
      const __m512bh right = load(keys + kLanes);
      for (int64_t r = 0; r < kAtOnce; ++r) {
        const __m512bh query = broadcast(queries + r * head_dim + 2 * p);
        sums[r][0] = _mm512_dpbf16_ps(sums[r][0], left, query);
        sums[r][1] = _mm512_dpbf16_ps(sums[r][1], right, query);
      }
    }
    for (int64_t r = 0; r < kAtOnce; ++r) {
      use(r, piece, sums[r][0], sums[r][1]);
    }
  }
}

// What is known of some rows after some tiles: exp(score - highest) summed up, alone and times the values.
template <int64_t kDim>
struct Running {
  alignas(64) float out[kRows][kDim];
  float highest[kRows];
  float sum[kRows];

  Running() {
    std::memset(out, 0, sizeof(out));
    std::fill_n(highest, kRows, kLowest);
    std::fill_n(sum, kRows, 0.0F);
  }
};

struct Weights {
  alignas(64) float scores[kRows][kFlashTile];
  alignas(64) Bf16 of[kRows][kFlashTile];
  float keep[kRows];  // what becomes of the sums so far
};

// Scores of a row to weights; slots from `visible` on are not seen. log_bias: of the tile's slots.
template <int64_t kDim, bool kBiased>
inline void weigh(int64_t r, int64_t visible, float scale, const float* log_bias, Weights& weights,
                  Running<kDim>& running) {
  __m512 scores[kVectors];
  __mmask16 seen[kVectors];
  __m512 highest = _mm512_set1_ps(kLowest);
  for (int64_t v = 0; v < kVectors; ++v) {
    const int64_t there = std::clamp<int64_t>(visible - v * kLanes, 0, kLanes);
    seen[v] = static_cast<__mmask16>((1U << there) - 1U);
    scores[v] =
        _mm512_mul_ps(_mm512_load_ps(weights.scores[r] + v * kLanes), _mm512_set1_ps(scale));
    if constexpr (kBiased) {
      scores[v] = _mm512_add_ps(scores[v], _mm512_maskz_loadu_ps(seen[v], log_bias + v * kLanes));
    }
    highest = _mm512_mask_max_ps(highest, seen[v], highest, scores[v]);
  }
  const float before = running.highest[r];
  const float now = std::max(before, _mm512_reduce_max_ps(highest));
  // A row that has seen nothing yet keeps nothing: its sums are zeros.
  weights.keep[r] = before == kLowest ? 0.0F : std::exp(before - now);
  running.highest[r] = now;
  __m512 sum = _mm512_setzero_ps();
  const __m512 shift = _mm512_set1_ps(now == kLowest ? 0.0F : now);
  for (int64_t v = 0; v < kVectors; ++v) {
    const __m512 weight =
        _mm512_maskz_mov_ps(seen[v], exponential(_mm512_sub_ps(scores[v], shift)));
    sum = _mm512_add_ps(sum, weight);
    const __m256bh narrow = _mm512_cvtneps_pbh(weight);
    std::memcpy(weights.of[r] + v * kLanes, &narrow, sizeof(narrow));
  }
  running.sum[r] = running.sum[r] * weights.keep[r] + _mm512_reduce_add_ps(sum);
}

// out = out * keep + weights * values, for kValueRows rows and 64 dimensions at a time.
template <int64_t kDim>
inline void add_values(int64_t first_row, const uint32_t* tile, const Weights& weights,
                       Running<kDim>& running) {
  constexpr int64_t kAcross = 64 / kLanes;
  for (int64_t d = 0; d < kDim; d += 64) {
    __m512 sums[kValueRows][kAcross];
    for (int64_t r = 0; r < kValueRows; ++r) {
      const __m512 keep = _mm512_set1_ps(weights.keep[first_row + r]);
      for (int64_t c = 0; c < kAcross; ++c) {
        sums[r][c] =
            _mm512_mul_ps(_mm512_load_ps(running.out[first_row + r] + d + c * kLanes), keep);
      }
    }
    const uint32_t* values = tile + d;
    for (int64_t pair = 0; pair < kFlashTile / 2; ++pair, values += kDim) {
      __m512bh across[kAcross];
      for (int64_t c = 0; c < kAcross; ++c) {
        across[c] = load(values + c * kLanes);
      }
      for (int64_t r = 0; r < kValueRows; ++r) {
        const __m512bh weight = broadcast(weights.of[first_row + r] + 2 * pair);
        for (int64_t c = 0; c < kAcross; ++c) {
          sums[r][c] = _mm512_dpbf16_ps(sums[r][c], across[c], weight);
        }
      }
    }
    for (int64_t r = 0; r < kValueRows; ++r) {
      for (int64_t c = 0; c < kAcross; ++c) {
        _mm512_store_ps(running.out[first_row + r] + d + c * kLanes, sums[r][c]);
      }
    }
  }
}

template <int64_t kDim, bool kBiased>
void attend_rows(const FlashArguments& a, int64_t begin, int64_t rows) {
  // Missing rows are zeros: they are scored like the others and not written.
  alignas(64) Bf16 queries[kRows][kDim] = {};
  std::memcpy(queries, a.queries + begin * kDim,
              static_cast<std::size_t>(rows * kDim) * sizeof(Bf16));
  const auto sees = [&](int64_t r) {
    const int64_t place = a.first + begin + std::min(r, rows - 1);
    return a.visible + place / a.group - a.first / a.group;
  };
  Running<kDim> running;
  Weights weights;
  for (int64_t slot = 0; slot < sees(rows - 1); slot += kFlashTile) {
    const int64_t words = slot * kDim / 2;
    score<kRows>(queries[0], a.keys + words, kDim,
                 [&](int64_t r, int64_t piece, __m512 left, __m512 right) {
                   _mm512_store_ps(weights.scores[r] + piece * kLanes, left);
                   _mm512_store_ps(weights.scores[r] + (piece + 1) * kLanes, right);
                 });
    for (int64_t r = 0; r < kRows; ++r) {
      weigh<kDim, kBiased>(r, sees(r) - slot, a.scale, kBiased ? a.log_bias + slot : nullptr,
                           weights, running);
    }
    for (int64_t r = 0; r < kRows; r += kValueRows) {
      add_values(r, a.values + words, weights, running);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    const __m512 share = _mm512_set1_ps(1.0F / running.sum[r]);
    Bf16* out = a.out + (begin + r) * kDim;
    for (int64_t d = 0; d < kDim; d += kLanes) {
      const __m256bh narrow =
          _mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_load_ps(running.out[r] + d), share));
      std::memcpy(out + d, &narrow, sizeof(narrow));
    }
    if (a.log_sums != nullptr) {
      a.log_sums[begin + r] = running.highest[r] + std::log(running.sum[r]);
    }
  }
}

void attend(const FlashArguments& a) {
  for (int64_t row = 0; row < a.rows; row += kRows) {
    const int64_t rows = std::min(kRows, a.rows - row);
    if (a.head_dim == 64) {
      a.log_bias == nullptr ? attend_rows<64, false>(a, row, rows)
                            : attend_rows<64, true>(a, row, rows);
    } else {
      a.log_bias == nullptr ? attend_rows<128, false>(a, row, rows)
                            : attend_rows<128, true>(a, row, rows);
    }
  }
}

template <int64_t kAtOnce>
void raise(const ObserveArguments& a, int64_t first, __m512* highest) {
  const __m512 scale = _mm512_set1_ps(a.scale);
  score<kAtOnce>(a.queries + first * a.head_dim, a.keys, a.head_dim,
                 [&](int64_t r, int64_t piece, __m512 left, __m512 right) {
                   const __m512 log_sum = _mm512_set1_ps(a.log_sums[first + r]);
                   highest[piece] =
                       _mm512_max_ps(highest[piece], _mm512_fmsub_ps(left, scale, log_sum));
                   highest[piece + 1] =
                       _mm512_max_ps(highest[piece + 1], _mm512_fmsub_ps(right, scale, log_sum));
                 });
}

void observe(const ObserveArguments& a) {
  __m512 highest[kVectors];
  std::fill_n(highest, kVectors, _mm512_set1_ps(kLowest));
  int64_t row = 0;
  for (; row + kRows <= a.rows; row += kRows) {
    raise<kRows>(a, row, highest);
  }
  for (; row < a.rows; ++row) {
    raise<1>(a, row, highest);
  }
  for (int64_t v = 0; v < kVectors; ++v) {
    _mm512_storeu_ps(a.highest + v * kLanes, exponential(highest[v]));
  }
}

}  // namespace

extern const FlashKernels kFlashBf16;
const FlashKernels kFlashBf16 = {pack_keys, pack_values, attend, observe};

}  // namespace alluvium::backbone
