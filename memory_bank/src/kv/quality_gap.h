// What a chunk's own tokens lose when they are read over its memory.
//
// Purpose: one number for how well a memory stands for its chunk, without any question.
// Source : the repeat pass (KVzip, Kim et al., NeurIPS 2025), teacher-forced: tokens of the chunk are
//          read again behind it, over all its keys and values and over the memory; the gap is the
//          difference of their mean negative log-likelihoods.
// Differs: a few consecutive tokens from a place drawn by the chunk's tokens, without an instruction,
//          so that measuring costs a few percent of reading.
// Cost   : two reads of 4 + `tokens` tokens a chunk, sixteen chunks in one batch.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "alluvium/backbone/decoder.h"
#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/kv_codec.h"

namespace alluvium::memory_bank {

/// Gaps in nats a token, in order: positive when the memory loses. Nothing for a chunk that is too
/// short (fewer than 4 + tokens) or leaves no room behind it. `codec` made the memories.
std::vector<std::optional<double>> measure_quality_gaps(
    const backbone::Decoder& decoder, const SharedPrefix& prefix, const Codec& codec,
    std::span<const Chunk> chunks, std::span<const ObservedReading> readings,
    std::span<const Memory> memories, int64_t tokens);

}  // namespace alluvium::memory_bank
