// Several memories in sequence, with the rows recomputed that miss most of the documents before them.
//
// Purpose: a memory was made of its document alone. In a sequence a reader of the text would have
//          seen the documents before it; most of that is won back by recomputing a few rows.
// Source : CacheBlend (Yao et al., EuroSys 2025): the rows whose values in layer 1 change most, 16 %.
// Differs: the question is read afterwards, over the repaired cache, since nothing of it changes a
//          document's row.
// Cost   : of reading all documents, about share + 2 / layers.
// Threads: a pure function; the cache belongs to the calling thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "alluvium/memory_bank/codec.h"

namespace alluvium::memory_bank {

/// A cache with the shared prefix, `memories` (best first, which stands last) and room for `room`
/// more tokens. A codec that stores no tensors reads the sequence whole, and a memory alone misses
/// nothing: neither is repaired. Throws InvalidArgument as Codec::to_prefix() and
/// backbone::Decoder::repair() do: when rows of one of several memories were evicted, there is
/// nothing to attend to in their place.
backbone::KvCache start_blended(const backbone::Decoder& decoder, const Codec& codec,
                                std::span<const std::shared_ptr<const Memory>> memories,
                                int64_t room, double share);

}  // namespace alluvium::memory_bank
