#include "alluvium/memory_bank/blend.h"

#include <vector>

#include "prefix_layout.h"

namespace alluvium::memory_bank {

backbone::KvCache start_blended(const backbone::Decoder& decoder, const Codec& codec,
                                std::span<const std::shared_ptr<const Memory>> memories,
                                int64_t room, double share) {
  backbone::KvCache cache =
      decoder.start(codec.to_prefix(memories, room, PositionScheme::sequential), room);
  if (codec.stores_tensors() && memories.size() > 1) {
    const std::vector<backbone::TokenId> tokens = sequence_tokens(memories);
    decoder.repair({.cache = &cache, .tokens = tokens, .share = share});
  }
  return cache;
}

}  // namespace alluvium::memory_bank
