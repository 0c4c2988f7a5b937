// Several memories in sequence, with the rows recomputed that miss most of the documents before them.
//
// Purpose: a memory was made of its document alone. In a sequence a reader of the text would have
//          seen the documents before it; most of that is won back by recomputing a few rows.
// Source : start_blended: CacheBlend (Yao et al., EuroSys 2025): the rows whose values in layer 1 change
//          most, 16 %. start_reused: Cache-Craft (Agarwal et al., SIGMOD 2025): rows made in an earlier
//          sequence, and of them those recomputed that looked most at chunks which stand elsewhere now.
// Differs: the question is read afterwards, over the repaired cache, since nothing of it changes a
//          document's row. start_reused: the first in a sequence is its memory, which was made behind
//          nothing; one that was never read behind others is read whole, as is one of which more than
//          half would be, and kept as it is then.
// Threads: start_blended is a pure function, start_reused one but for the MemoryCache; the KvCache belongs
//          to the calling thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/memory_cache.h"

namespace alluvium::memory_bank {

struct BlendedCache {
  backbone::KvCache cache;
  int64_t recomputed = 0;  ///< of the documents' tokens, those made anew in every layer
};

/// A cache with the shared prefix, `memories` (best first, which stands last) and room for `room`
/// more tokens. Costs, of reading all documents, about share + 2 / layers. A codec that stores no
/// tensors reads the sequence whole, and a memory alone misses nothing: neither is repaired. Throws
/// InvalidArgument as Codec::to_prefix() and backbone::Decoder::repair() do: when rows of one of several
/// memories were evicted, there is nothing to attend to in their place.
BlendedCache start_blended(const backbone::Decoder& decoder, const Codec& codec,
                           std::span<const std::shared_ptr<const Memory>> memories, int64_t room,
                           double share);

/// The same, with the variants in `variants` of the memories, whose ChunkRow::row are `chunks`. Of each
/// document in the sequence but the first, fix_overhead() with `alpha` is recomputed of its best variant.
/// The same documents in the same order again cost nothing but the load.
BlendedCache start_reused(const backbone::Decoder& decoder, const Codec& codec,
                          std::span<const std::shared_ptr<const Memory>> memories,
                          std::span<const int64_t> chunks, int64_t room, double alpha,
                          MemoryCache& variants);

}  // namespace alluvium::memory_bank
