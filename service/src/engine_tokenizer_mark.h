// Whether stored chunks may be cut by another tokenizer than the running one.
//
// Purpose: token ids mean nothing under another vocabulary. A bank keeps the mark of the tokenizer that cut its first documents; while the
//          running one differs, chunks are compared with a fresh cut before they are used, and where they differ the text is read.
// Threads: thread-safe functions.
#pragma once

#include <string>
#include <vector>

#include "alluvium/core/sha256.h"
#include "alluvium/memory_bank/store.h"

namespace alluvium::service {

/// Writes the mark of an empty bank. True when the bank in `directory` holds documents and another tokenizer's mark.
/// Throws InvalidArgument when the mark cannot be written.
bool check_tokenizer_mark(const std::string& directory, const Digest& tokenizer, bool empty);

/// The stored chunk that equals `fresh`; otherwise `fresh` itself, with row 0.
memory_bank::ChunkRow match_chunk(const std::vector<memory_bank::ChunkRow>& stored,
                                  const memory_bank::Chunk& fresh);

}  // namespace alluvium::service
