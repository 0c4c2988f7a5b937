// What becomes of several documents: the words of `answer.compose`.
//
// Threads: pure functions.
#pragma once

#include <string>
#include <vector>

namespace alluvium::service {

enum class Compose {
  choose,    ///< the answer is read from the one that fits best (docs/adr/0007)
  together,  ///< all are attended to, as codec.positions says
  sequence,  ///< all are attended to, one after the other, the best last
  blend,     ///< likewise, with the rows recomputed that miss most of what stands before them
  reuse,     ///< likewise, with rows kept from earlier sequences, recomputed as far as those differ
};

/// In the order of the enumeration.
const std::vector<std::string>& compose_words();

/// The word that parse_compose() reads it from.
const std::string& compose_word(Compose compose);

/// Throws InvalidArgument on an unknown word, naming those there are.
Compose parse_compose(const std::string& word);

}  // namespace alluvium::service
