// BERT's text normalisation and its split into words.
//
// Source : tokenization.py of https://github.com/google-research/bert (BasicTokenizer); class by class as the tokenizers library's
//          BertNormalizer and BertPreTokenizer.
// Threads: thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace alluvium::backbone {

struct BertRules {
  bool clean_text = true;        ///< drop controls and U+FFFD
  bool split_ideographs = true;  ///< each ideograph is a word
  bool strip_accents = true;     ///< decompose, then drop non-spacing marks
  bool lower_case = true;
};

/// A word as WordPiece sees it.
struct BertWord {
  std::string text;            ///< UTF-8
  std::size_t characters = 0;  ///< code points in it
};

/// The words of `text`; punctuation marks are words of their own. Malformed bytes count as U+FFFD.
std::vector<BertWord> split_bert_words(std::string_view text, const BertRules& rules);

}  // namespace alluvium::backbone
