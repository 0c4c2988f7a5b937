#include "words.h"

#include <utf8proc.h>

namespace alluvium::selectors {
namespace {

enum class Kind { word, other, space };

Kind kind_of(utf8proc_int32_t c) {
  if (c < 0x80) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || (c >= '0' && c <= '9') || c == '_') {
      return Kind::word;
    }
    const bool space = c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f);
    return space ? Kind::space : Kind::other;
  }
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return Kind::word;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return Kind::space;
    default:
      return c == 0x85 ? Kind::space : Kind::other;
  }
}

}  // namespace

std::vector<std::string> split_words(std::string_view text, Punctuation punctuation) {
  std::vector<std::string> words;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  Kind last = Kind::space;
  while (left > 0) {
    utf8proc_int32_t c = *bytes;
    utf8proc_ssize_t length = 1;
    if (c >= 0x80) {
      length = utf8proc_iterate(bytes, left, &c);
      if (length <= 0) {  // callers check UTF-8; a stray byte counts as punctuation
        c = 0xfffd;
        length = 1;
      }
    }
    bytes += length;
    left -= length;
    const Kind kind = kind_of(c);
    const bool kept =
        kind == Kind::word || (kind == Kind::other && punctuation == Punctuation::keep);
    if (kept) {
      if (kind != last) {
        words.emplace_back();
      }
      if (c < 0x80) {
        words.back() += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
      } else {
        utf8proc_uint8_t lower[4];
        const utf8proc_ssize_t size = utf8proc_encode_char(utf8proc_tolower(c), lower);
        words.back().append(reinterpret_cast<const char*>(lower), static_cast<std::size_t>(size));
      }
    }
    last = kept ? kind : Kind::space;
  }
  return words;
}

}  // namespace alluvium::selectors
