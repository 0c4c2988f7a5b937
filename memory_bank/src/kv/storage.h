// From captured keys and values to what a record keeps, and back to what attention uses.
//
// Threads: pure functions; use ATen's intra-operator threads.
#pragma once

#include <span>
#include <vector>

#include "alluvium/memory_bank/kv_basis.h"
#include "alluvium/memory_bank/memory.h"
#include "kv/channels.h"
#include "kv/settings.h"

namespace alluvium::memory_bank {

/// keys, values: [layers, kv_heads, n, head_dim], any float dtype and device. type: what it will be
/// decoded to; with unquantised settings also what is stored. channels: of each layer and head; empty:
/// all. Throws NumericError when a number that is to be quantised, of a compensation row or a mean of
/// a channel is not finite in float16. basis: of transformed settings.
StoredKv store_kv(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                  at::ScalarType type, const KvSettings& settings,
                  const CompensationRows& compensation = {},
                  std::span<const HeadChannels> channels = {}, const KvBasis* basis = nullptr);

/// Layers of a record, where they lie.
struct StoredLayer {
  int64_t key_bits = 0;
  int64_t value_bits = 0;
  std::span<const std::byte> section;
  EntropyCoder coder = EntropyCoder::none;
  std::size_t plain_bytes = 0;  ///< of a coded section when decoded
};

/// Views of `stored`, which must outlive them.
std::vector<StoredLayer> layers_of(const StoredKv& stored);

/// Sets keys, values, kept and compensation rows of `memory`, whose tokens are set. `stored.layers` is
/// not looked at. Throws DataCorruption when a section cannot be decoded, its length is not what its
/// rows need, or its rows contradict each other; NotSupported when it is written in a basis that is not
/// this one.
void load_kv(const StoredKv& stored, std::span<const StoredLayer> layers, Memory& memory,
             const KvBasis* basis = nullptr);

}  // namespace alluvium::memory_bank
