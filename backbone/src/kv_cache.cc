#include <numeric>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/error.h"

namespace alluvium::backbone {

KvCache::KvCache(const DecoderGeometry& geometry, int64_t capacity, at::ScalarType dtype,
                 at::Device device) {
  ALLUVIUM_CHECK(capacity >= 0, "cache capacity must not be negative, got {}", capacity);
  const auto options = at::TensorOptions(dtype).device(device);
  keys_ = at::empty({geometry.layers, geometry.kv_heads, capacity, geometry.head_dim}, options);
  values_ = at::empty_like(keys_);
}

double KvCache::mean_slots() const {
  const auto before = std::accumulate(begins_.begin(), begins_.end(), 0.0);
  return static_cast<double>(slots_) -
         (begins_.empty() ? 0 : before / static_cast<double>(begins_.size()));
}

void KvCache::rewind(int64_t slots, int64_t next_position) {
  ALLUVIUM_CHECK(slots >= context_end_ && slots <= slots_,
                 "a cache of {} slots cannot be rewound to {}", slots_, slots);
  ALLUVIUM_CHECK(next_position >= 0 && next_position <= next_position_,
                 "a cache at position {} cannot be rewound to {}", next_position_, next_position);
  slots_ = slots;
  next_position_ = next_position;
}

}  // namespace alluvium::backbone
