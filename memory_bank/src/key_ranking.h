// What every key index needs: checks of its inputs, the dot product, the best of many hits.
//
// Threads: thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "alluvium/memory_bank/key_index.h"

namespace alluvium::memory_bank {

/// Throws InvalidArgument unless positive.
std::size_t check_dimension(int64_t dimension);

/// Throws InvalidArgument unless the query has `dimension` values.
void check_query(std::span<const float> query, std::size_t dimension);

/// Throws InvalidArgument unless `keys` is one or more whole rows.
std::size_t count_keys(std::span<const float> keys, std::size_t dimension);

/// Inner product of the query with the row at `key`.
float dot(std::span<const float> query, const float* key);

/// The `limit` highest scores, best first; ties go to the lower row.
std::vector<KeyHit> take_best(std::vector<KeyHit> hits, int64_t limit);

}  // namespace alluvium::memory_bank
