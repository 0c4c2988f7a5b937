#include "word_splitter.h"

#include <array>

#include "alluvium/core/error.h"
#include "code_points.h"

namespace alluvium::backbone {
namespace {

constexpr std::array<std::string_view, 7> kContractions = {"s", "t", "re", "ve", "m", "ll", "d"};
constexpr std::string_view kLongS = "\u017f";  // folds to "s" where case is ignored

bool is_line_end(char byte) { return byte == '\r' || byte == '\n'; }

char ascii_lower(char byte) {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
}

}  // namespace

const char* to_string(SplitRule rule) {
  switch (rule) {
    case SplitRule::gpt2:
      return "gpt2";
    case SplitRule::smollm:
      return "smollm";
    case SplitRule::llama3:
      return "llama3";
    case SplitRule::qwen2:
      return "qwen2";
  }
  throw InternalError("split rule outside its enumeration");
}

std::string_view WordSplitter::next() {
  if (at_ == text_.size()) {
    return {};
  }
  const std::size_t begin = at_;
  const bool like_gpt2 = rule_ == SplitRule::gpt2 || rule_ == SplitRule::smollm;
  at_ = like_gpt2 ? gpt2_end(begin) : llama3_end(begin);
  return text_.substr(begin, at_ - begin);
}

CharacterClass WordSplitter::class_of(char32_t code_point) const {
  const CharacterClass known = character_class(code_point);
  const bool digit = rule_ == SplitRule::smollm && known == CharacterClass::other &&
                     is_number_since_unicode17(code_point);
  return digit ? CharacterClass::number : known;
}

CharacterClass WordSplitter::class_at(std::size_t offset) const {
  return class_of(code_point_at(text_, offset).value);
}

std::size_t WordSplitter::width_at(std::size_t offset) const {
  return code_point_at(text_, offset).bytes;
}

// SmolLM's digits cut the text before the expression sees it, so that a lookahead ends there too.
bool WordSplitter::ends_segment(std::size_t offset) const {
  return offset == text_.size() ||
         (rule_ == SplitRule::smollm && class_at(offset) == CharacterClass::number);
}

std::size_t WordSplitter::run_end(std::size_t from, CharacterClass run) const {
  while (from < text_.size()) {
    const CodePoint point = code_point_at(text_, from);
    if (class_of(point.value) != run) {
      break;
    }
    from += point.bytes;
  }
  return from;
}

// \s+(?!\S)|\s+ : the whole run at the end of the text, else all but its last character, which goes
// to the next word; a single one alone.
std::size_t WordSplitter::space_end(std::size_t from) const {
  std::size_t last = from;
  std::size_t end = from;
  while (end < text_.size() && class_at(end) == CharacterClass::space) {
    last = end;
    end += width_at(end);
  }
  return ends_segment(end) || last == from ? end : last;
}

// The end of an apostrophe's contraction, or `from` when there is none.
std::size_t WordSplitter::contraction_end(std::size_t from) const {
  if (text_[from] != '\'') {
    return from;
  }
  const bool ignore_case = rule_ == SplitRule::llama3 || rule_ == SplitRule::qwen2;
  const std::string_view rest = text_.substr(from + 1);
  if (ignore_case && rest.substr(0, kLongS.size()) == kLongS) {
    return from + 1 + kLongS.size();
  }
  for (const std::string_view ending : kContractions) {
    bool equal = rest.size() >= ending.size();
    for (std::size_t i = 0; equal && i < ending.size(); ++i) {
      equal = (ignore_case ? ascii_lower(rest[i]) : rest[i]) == ending[i];
    }
    if (equal) {
      return from + 1 + ending.size();
    }
  }
  return from;
}

std::size_t WordSplitter::gpt2_end(std::size_t from) const {
  if (const std::size_t end = contraction_end(from); end != from) {
    return end;
  }
  CharacterClass first = class_at(from);
  if (rule_ == SplitRule::smollm && first == CharacterClass::number) {
    return from + width_at(from);
  }
  std::size_t start = from;
  if (text_[from] == ' ' && !ends_segment(from + 1)) {
    start = from + 1;
    first = class_at(start);
  }
  return first == CharacterClass::space ? space_end(from) : run_end(start, first);
}

std::size_t WordSplitter::llama3_end(std::size_t from) const {
  if (const std::size_t end = contraction_end(from); end != from) {
    return end;
  }
  const CharacterClass first = class_at(from);
  const std::size_t second = from + width_at(from);
  const auto follows = [&](CharacterClass wanted) {
    return second < text_.size() && class_at(second) == wanted;
  };
  if (first == CharacterClass::letter) {
    return run_end(from, CharacterClass::letter);
  }
  if (first == CharacterClass::number) {
    std::size_t end = second;
    for (int digits = rule_ == SplitRule::llama3 ? 3 : 1;
         --digits > 0 && end < text_.size() && class_at(end) == CharacterClass::number;) {
      end += width_at(end);
    }
    return end;
  }
  if (!is_line_end(text_[from]) && follows(CharacterClass::letter)) {
    return run_end(second, CharacterClass::letter);
  }
  const bool spaced = text_[from] == ' ' && follows(CharacterClass::other);
  if (first == CharacterClass::other || spaced) {
    std::size_t end = run_end(spaced ? second : from, CharacterClass::other);
    while (end < text_.size() && is_line_end(text_[end])) {
      ++end;
    }
    return end;
  }
  // \s*[\r\n]+ : up to the last line end of the run.
  std::size_t end = run_end(from, CharacterClass::space);
  while (end > from && !is_line_end(text_[end - 1])) {
    --end;
  }
  return end > from ? end : space_end(from);
}

}  // namespace alluvium::backbone
