// Sentence borders, and documents cut at them.
//
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "alluvium/backbone/tokenizer.h"
#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// Byte ranges [begin, end) of the sentences of `text`, in order; together they cover every byte
/// that is not white space at a border. A sentence ends after . ! ? (with closing quotes or
/// brackets) followed by white space and no lower-case letter, not after common abbreviations,
/// initials or numbers such as "3."; and at a blank line or a line break before a bullet.
std::vector<std::pair<std::size_t, std::size_t>> split_sentences(std::string_view text);

/// How title and text become the tokens of a chunk.
struct ChunkOptions {
  int64_t max_tokens = 1024;  ///< of one chunk, title included; at least 32
  /// {title} and {text} are replaced; with an empty title only the text part is used
  std::string format = "{title}\n{text}";
};

/// Cuts a document into chunks of at most max_tokens at sentence borders; a single longer sentence
/// is cut at white space, failing that between characters. Each chunk is tokenised alone. Throws
/// InvalidArgument when max_tokens < 32, the format lacks {text} or the title alone fills more than
/// half a chunk.
std::vector<Chunk> chunk_document(const std::string& title, const std::string& text,
                                  const backbone::Tokenizer& tokenizer,
                                  const ChunkOptions& options);

/// The texts whose embeddings find a document: title and sentence, one for each sentence, at most
/// `limit` (evenly spread when there are more; 0 = no limit). Underscores in the title become
/// spaces. Never empty.
std::vector<std::string> key_texts(const std::string& title, const std::string& text,
                                   int64_t limit = 64);

}  // namespace alluvium::memory_bank
