#include "bert_words.h"

#include <algorithm>

#include "code_points.h"
#include "unicode_classes.h"

namespace alluvium::backbone {
namespace {

constexpr char32_t kReplacement = 0xfffd;

std::u32string read_clean(std::string_view text, const BertRules& rules) {
  std::u32string clean;
  clean.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    at += point.bytes;
    const char32_t value = point.value == kMalformed ? kReplacement : point.value;
    const BertClass kind = bert_class(value);
    if (rules.clean_text && kind == BertClass::control) {
      continue;
    }
    if (rules.split_ideographs && value >= 0x3400 && is_bert_ideograph(value)) {
      clean += {U' ', value, U' '};
    } else {
      clean += rules.clean_text && kind == BertClass::space ? U' ' : value;
    }
  }
  return clean;
}

// Canonical ordering (Unicode, section 3.11): marks between two starters are sorted by combining
// class, equals stay in order.
void order_marks(std::u32string& text) {
  const auto is_starter = [](char32_t value) {
    return value < 0x300 || combining_class(value) == 0;
  };
  auto begin = text.begin();
  while (begin != text.end()) {
    begin = std::find_if_not(begin, text.end(), is_starter);
    const auto end = std::find_if(begin, text.end(), is_starter);
    std::stable_sort(
        begin, end, [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

std::u32string without_accents(const std::u32string& text) {
  std::u32string decomposed;
  decomposed.reserve(text.size());
  for (const char32_t value : text) {
    append_decomposed(value, decomposed);
  }
  order_marks(decomposed);
  std::erase_if(decomposed, [](char32_t value) { return bert_class(value) == BertClass::accent; });
  return decomposed;
}

std::u32string lowered(const std::u32string& text) {
  std::u32string lower;
  lower.reserve(text.size());
  for (const char32_t value : text) {
    append_lower_case(value, lower);
  }
  return lower;
}

// White space of the pre-tokenizer: wider than the cleaner's, which matters only when nothing was
// cleaned.
bool is_space(char32_t value) { return character_class(value) == CharacterClass::space; }

}  // namespace

std::vector<BertWord> split_bert_words(std::string_view text, const BertRules& rules) {
  std::u32string normal = read_clean(text, rules);
  if (rules.strip_accents) {
    normal = without_accents(normal);
  }
  if (rules.lower_case) {
    normal = lowered(normal);
  }
  std::vector<BertWord> words;
  bool inside = false;
  for (const char32_t value : normal) {
    if (is_space(value)) {
      inside = false;
      continue;
    }
    const bool alone = bert_class(value) == BertClass::punctuation;
    if (alone || !inside) {
      words.emplace_back();
    }
    append_utf8(value, words.back().text);
    ++words.back().characters;
    inside = !alone;
  }
  return words;
}

}  // namespace alluvium::backbone
