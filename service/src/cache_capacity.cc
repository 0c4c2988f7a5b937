#include "cache_capacity.h"

#include <algorithm>

#include "alluvium/core/error.h"

namespace alluvium::service {

std::size_t cache_capacity(std::size_t cache_bytes, std::size_t memory_bytes,
                           std::size_t resident) {
  if (memory_bytes == 0) {
    return cache_bytes;
  }
  ALLUVIUM_CHECK(memory_bytes >= resident + kWorkBytes,
                 "memory_bytes must be at least {} here: {} for the models and the index, {} for "
                 "the work in hand; got {}",
                 resident + kWorkBytes, resident, kWorkBytes, memory_bytes);
  return std::min(cache_bytes, memory_bytes - resident - kWorkBytes);
}

}  // namespace alluvium::service
