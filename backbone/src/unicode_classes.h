// Character classes, as the reference tokenizers see them.
//
// Purpose: the classes of the pre-tokenizers' regular expressions (\p{L}, \p{N}, \s) and of BERT's normaliser.
// Source : general categories from utf8proc (Unicode 15), corrected by short tables: the tokenizers library's regular expressions
//          (Oniguruma) know Unicode 16, its BERT normaliser (crate unicode_categories) only about Unicode 8.
// Threads: thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace alluvium::backbone {

/// The four classes byte-level pre-tokenizers tell apart. Malformed bytes are `other`.
enum class CharacterClass : uint8_t { letter, number, space, other };

CharacterClass character_class(char32_t code_point);

/// Numbers of Unicode 17, which the reference's digit splitter knows and its regular expressions do
/// not.
bool is_number_since_unicode17(char32_t code_point);

/// What BERT's normaliser and pre-tokenizer do with a character.
enum class BertClass : uint8_t {
  word,         ///< part of a word
  space,        ///< ends a word
  punctuation,  ///< a word of its own
  control,      ///< removed when cleaning: controls, formats, private use
  accent,       ///< a non-spacing mark, removed when stripping accents
};

BertClass bert_class(char32_t code_point);

/// Whether BERT's normaliser sets a character off as an ideograph.
bool is_bert_ideograph(char32_t code_point);

/// Canonical decomposition of one code point, appended to `to` in the order of the standard's
/// tables. Points that the BERT reference does not know stay whole.
void append_decomposed(char32_t code_point, std::u32string& to);

/// Canonical combining class; 0 for a starter.
uint8_t combining_class(char32_t code_point);

/// Full lower case without context: the final-sigma rule is not applied, U+0130 becomes two code
/// points.
void append_lower_case(char32_t code_point, std::u32string& to);

}  // namespace alluvium::backbone
