// Where the documents of a question stand: side by side after the shared prefix, or one after the
// other.
//
// Source : parallel positions: APE (Yang et al., 2025).
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "alluvium/backbone/kv_prefix.h"
#include "alluvium/memory_bank/codec.h"

namespace alluvium::memory_bank {

/// Throws InvalidArgument on an unknown word.
PositionScheme parse_position_scheme(const std::string& word);

/// Where text after the documents begins. lengths: tokens of each document.
int64_t next_position(PositionScheme scheme, int64_t prefix_length,
                      std::span<const int64_t> lengths);

/// Throws InvalidArgument when `room` more tokens after `next` pass the decoder's positions.
void check_room(const backbone::DecoderGeometry& geometry, int64_t next, int64_t room);

/// Slots of one document with pre-RoPE keys at positions first, first + 1, ...
backbone::KvSegment place_document(const at::Tensor& keys, const at::Tensor& values, int64_t first);

/// The same for the kept rows of a document, each at its own token's position.
backbone::KvSegment place_rows(const Memory& memory, int64_t first);

/// Tokens of `memories`, best first, in the order in which they stand in a sequence: the best last,
/// next to the question.
std::vector<backbone::TokenId> sequence_tokens(
    std::span<const std::shared_ptr<const Memory>> memories);

/// The rows that stand for those it lost, for a memory that has some: one for each layer and head.
backbone::KvSegment place_compensation(const Memory& memory, int64_t first);

/// Prefix and the segments of so many documents, with the settings for that many: one document, or
/// documents in sequence, are attended to as plain text.
backbone::KvPrefix join_prefix(const SharedPrefix& shared,
                               std::vector<backbone::KvSegment> segments, std::size_t documents,
                               int64_t next, PositionScheme scheme, const CodecOptions& options);

}  // namespace alluvium::memory_bank
