#include "unicode_classes.h"

#include <algorithm>
#include <array>

#include <utf8proc.h>

#include "alluvium/core/error.h"
#include "code_points.h"

namespace alluvium::backbone {
namespace {

struct CodePointRange {
  char32_t first;
  char32_t last;
};

// clang-format off
// Found by asking the reference about every code point; tests/oracle/tokenizers/README.md has the command.
// Letters and numbers of Unicode 15.1 and 16, unassigned in utf8proc's tables.
constexpr std::array<CodePointRange, 22> kLettersSinceUnicode15 = {{
    {0x1c89, 0x1c8a}, {0xa7cb, 0xa7cd}, {0xa7da, 0xa7dc}, {0x105c0, 0x105f3}, {0x10d4a, 0x10d65},
    {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x11380, 0x11389}, {0x1138b, 0x1138b},
    {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113b7}, {0x113d1, 0x113d1},
    {0x113d3, 0x113d3}, {0x11bc0, 0x11be0}, {0x13460, 0x143fa}, {0x16100, 0x1611d},
    {0x16d40, 0x16d6c}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed}, {0x1e5f0, 0x1e5f0},
    {0x2ebf0, 0x2ee5d},
}};
constexpr std::array<CodePointRange, 7> kNumbersSinceUnicode15 = {{
    {0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x16130, 0x16139},
    {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa},
}};
constexpr std::array<CodePointRange, 2> kNumbersSinceUnicode17 = {{
    {0x11de0, 0x11de9}, {0x16ff4, 0x16ff6},
}};
// Marks, punctuation, formats and one decomposition younger than BERT's tables: to it they are parts of words. The ranges also cover
// neighbours that are parts of words anyway.
constexpr std::array<CodePointRange, 40> kUnknownToBert = {{
    {0x61d, 0x61d}, {0x7fd, 0x7fd}, {0x890, 0x8e2}, {0x9fd, 0x9fe}, {0xa76, 0xa76}, {0xafa, 0xaff},
    {0xb55, 0xb55}, {0xc04, 0xc3c}, {0xc77, 0xc77}, {0xc84, 0xc84}, {0xd00, 0xd00}, {0xd3b, 0xd3c},
    {0xd81, 0xd81}, {0xeba, 0xeba}, {0xece, 0xece}, {0x180f, 0x1886}, {0x1abf, 0x1ace},
    {0x1b7d, 0x1b7e}, {0x1df6, 0x1dfb}, {0x2e43, 0x2e5d}, {0xa82c, 0xa82c}, {0xa8c5, 0xa8c5},
    {0xa8ff, 0xa8ff}, {0xa9bd, 0xa9bd}, {0x10d24, 0x10f89}, {0x11070, 0x11074}, {0x110c2, 0x110cd},
    {0x111cf, 0x111cf}, {0x1123e, 0x11241}, {0x1133b, 0x1133b}, {0x11438, 0x1145e},
    {0x11660, 0x1166c}, {0x116b9, 0x116b9}, {0x1182f, 0x11fff}, {0x12ff1, 0x13455},
    {0x16e97, 0x16f4f}, {0x16fe2, 0x16fe4}, {0x1cf00, 0x1cf46}, {0x1e000, 0x1e4ef},
    {0x1e944, 0x1e95f},
}};
// The normaliser's own list. It starts extension E at 0x2b920, where Unicode starts it at 0x2b820.
constexpr std::array<CodePointRange, 8> kBertIdeographs = {{
    {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xf900, 0xfaff}, {0x20000, 0x2a6df},
    {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f},
}};
// clang-format on

// `ranges` are sorted.
template <std::size_t Size>
bool contains(const std::array<CodePointRange, Size>& ranges, char32_t code_point) {
  const auto after = std::upper_bound(
      ranges.begin(), ranges.end(), code_point,
      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return after != ranges.begin() && code_point <= std::prev(after)->last;
}

CharacterClass classify(char32_t code_point) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharacterClass::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharacterClass::number;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return CharacterClass::space;
    case UTF8PROC_CATEGORY_CC: {
      const bool white = (code_point >= '\t' && code_point <= '\r') || code_point == 0x85;
      return white ? CharacterClass::space : CharacterClass::other;
    }
    case UTF8PROC_CATEGORY_CN:
      return contains(kLettersSinceUnicode15, code_point)   ? CharacterClass::letter
             : contains(kNumbersSinceUnicode15, code_point) ? CharacterClass::number
                                                            : CharacterClass::other;
    default:
      return CharacterClass::other;
  }
}

BertClass classify_for_bert(char32_t code_point) {
  // Punctuation of the older tables: a mark and a symbol today.
  if (code_point == 0x111c9 || code_point == 0x166d) {
    return BertClass::punctuation;
  }
  if (code_point == 0x1734) {
    return BertClass::accent;  // a spacing mark since Unicode 14
  }
  if (code_point == 0xfffd) {
    return BertClass::control;
  }
  if (contains(kUnknownToBert, code_point)) {
    return BertClass::word;
  }
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_MN:
      return BertClass::accent;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return BertClass::punctuation;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return BertClass::space;
    case UTF8PROC_CATEGORY_CC:
      // \v, \f and U+0085 are white space too, but cleaning removes them first.
      return code_point == '\t' || code_point == '\n' || code_point == '\r' ? BertClass::space
                                                                            : BertClass::control;
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      return BertClass::control;
    default:
      break;
  }
  // ASCII symbols count as punctuation: $ + < = > ^ ` | ~
  return code_point > ' ' && code_point < 0x7f && classify(code_point) == CharacterClass::other
             ? BertClass::punctuation
             : BertClass::word;
}

template <class Class, Class (*classify_one)(char32_t)>
Class through_ascii_table(char32_t code_point) {
  static const std::array<Class, 128> kAscii = [] {
    std::array<Class, 128> table{};
    for (char32_t i = 0; i < table.size(); ++i) {
      table[i] = classify_one(i);
    }
    return table;
  }();
  return code_point < kAscii.size() ? kAscii[code_point] : classify_one(code_point);
}

}  // namespace

CharacterClass character_class(char32_t code_point) {
  return through_ascii_table<CharacterClass, classify>(code_point);
}

BertClass bert_class(char32_t code_point) {
  return through_ascii_table<BertClass, classify_for_bert>(code_point);
}

bool is_number_since_unicode17(char32_t code_point) {
  return contains(kNumbersSinceUnicode17, code_point);
}

bool is_bert_ideograph(char32_t code_point) { return contains(kBertIdeographs, code_point); }

void append_decomposed(char32_t code_point, std::u32string& to) {
  if (code_point < 0x80 || contains(kUnknownToBert, code_point)) {
    to += code_point;
    return;
  }
  // The longest canonical decomposition has four code points.
  std::array<utf8proc_int32_t, 8> parts{};
  int boundary = 0;
  const utf8proc_ssize_t count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point), parts.data(), parts.size(),
                              UTF8PROC_DECOMPOSE, &boundary);
  ALLUVIUM_ASSERT(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()));
  to.append(parts.begin(), parts.begin() + count);
}

uint8_t combining_class(char32_t code_point) {
  return static_cast<uint8_t>(
      utf8proc_get_property(static_cast<utf8proc_int32_t>(code_point))->combining_class);
}

void append_lower_case(char32_t code_point, std::u32string& to) {
  if (code_point == 0x130) {
    to += U"i\u0307";
    return;
  }
  to += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point)));
}

}  // namespace alluvium::backbone
