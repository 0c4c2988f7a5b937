// The places a tokenizer is read from.
//
// Threads: thread-safe.
#pragma once

#include <memory>

#include "alluvium/backbone/tokenizer.h"

namespace alluvium::backbone {

/// Ids at or above this are taken for damage: the largest published vocabularies have a quarter of
/// a million.
inline constexpr int64_t kLargestVocabulary = int64_t{1} << 22;

/// The tokenizer in a GGUF file's description. Errors as load_tokenizer().
std::unique_ptr<Tokenizer> load_gguf_tokenizer(const Checkpoint& checkpoint);

}  // namespace alluvium::backbone
