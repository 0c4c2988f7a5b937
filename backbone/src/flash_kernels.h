// Attention of many rows over the slots of one KV head, in bfloat16 with sums in float32, and who looked where.
//
// Purpose: reading is half attention once a chunk has a thousand tokens, and the libraries' bfloat16 products are float32 ones in disguise on
//          processors that are not theirs. Weights live in registers and in the first cache only.
// Source : FlashAttention (Dao et al., 2022): softmax over tiles of slots with a running maximum and sum.
// Layout : keys and values are packed once for all rows, in tiles of kFlashTile slots: of keys each two dimensions, of values each two slots
//          side by side, as vdpbf16ps takes them. Slots that are not there are zeros.
// Threads: pure functions of their arguments.
#pragma once

#include <cstdint>

#include "row_kernels.h"

namespace alluvium::backbone {

inline constexpr int64_t kFlashTile = 64;  ///< slots

/// Tiles of so many slots.
constexpr int64_t flash_tiles(int64_t slots) { return (slots + kFlashTile - 1) / kFlashTile; }

/// 32-bit words that the packed keys, or the packed values, of one head take.
constexpr int64_t flash_words(int64_t slots, int64_t head_dim) {
  return flash_tiles(slots) * kFlashTile * head_dim / 2;
}

struct FlashArguments {
  const Bf16* queries = nullptr;     ///< [rows, head_dim], rotated
  const uint32_t* keys = nullptr;    ///< packed
  const uint32_t* values = nullptr;  ///< packed
  const float* log_bias =
      nullptr;          ///< of each slot that some row sees, added to its logits; or null
  Bf16* out = nullptr;  ///< [rows, head_dim]
  float* log_sums =
      nullptr;  ///< [rows]: natural logarithm of the sum of exp(scale * q k + bias); or null
  int64_t rows = 0;
  int64_t head_dim = 0;
  int64_t visible = 0;  ///< slots that the first row sees; each row at least one
  int64_t first = 0;    ///< place of the first row among all rows
  int64_t group = 1;    ///< the rows of a token: row r of all sees r / group slots more than row 0
  float scale = 0;
};

struct ObserveArguments {
  const Bf16* queries = nullptr;    ///< [rows, head_dim], rotated
  const float* log_sums = nullptr;  ///< [rows], as above
  const uint32_t* keys = nullptr;   ///< one tile, packed
  float* highest = nullptr;  ///< [kFlashTile], written: max over rows of exp(scale * q k - log_sum)
  int64_t rows = 0;
  int64_t head_dim = 0;
  float scale = 0;
};

struct FlashKernels {
  /// keys, values: [slots, head_dim]; head_dim 64 or 128.
  void (*pack_keys)(const Bf16* keys, int64_t slots, int64_t head_dim, uint32_t* packed);
  void (*pack_values)(const Bf16* values, int64_t slots, int64_t head_dim, uint32_t* packed);
  void (*attend)(const FlashArguments& arguments);
  /// What an observer of attention needs of a second reading (KVzip, Kim et al., 2025): for each slot one number.
  void (*observe)(const ObserveArguments& arguments);
};

/// For processors with AVX512-BF16; null on others.
const FlashKernels* flash_kernels();

/// Whether they take heads of this size.
constexpr bool flash_takes(int64_t head_dim) { return head_dim == 64 || head_dim == 128; }

}  // namespace alluvium::backbone
