// Words of a text, for the lexical baselines.
//
// Source : DSIR's tokens are NLTK's wordpunct pattern over lower-cased text: runs of word characters, or of other characters that are not
//          white space. A word character is a letter, a number or "_" (Python's \w).
// Differs: lower case by Unicode's simple mapping, one character for one.
// Threads: thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace alluvium::selectors {

enum class Punctuation { keep, drop };

std::vector<std::string> split_words(std::string_view text, Punctuation punctuation);

}  // namespace alluvium::selectors
