#include "alluvium/memory_bank/sentences.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

namespace alluvium::memory_bank {
namespace {

// Words that end with a full stop in the middle of a sentence, lower case, without the stop.
// Sorted.
constexpr std::array<std::string_view, 62> kAbbreviations = {
    "al",  "approx", "apr", "art",  "aug",  "ave", "b.c", "ca",  "capt", "cf",  "co",
    "col", "corp",   "dec", "dept", "dr",   "e.g", "ed",  "eds", "eq",   "esp", "est",
    "etc", "feb",    "fig", "figs", "fr",   "gen", "gov", "hon", "i.e",  "inc", "jan",
    "jr",  "jul",    "jun", "lt",   "ltd",  "maj", "mar", "mr",  "mrs",  "ms",  "mt",
    "nov", "oct",    "p",   "pp",   "prof", "rep", "rev", "sec", "sen",  "sep", "sept",
    "sgt", "sr",     "st",  "u.k",  "u.n",  "u.s", "vs"};

constexpr std::array<std::string_view, 3> kClosingQuotes = {"\u201d", "\u2019", "\u00bb"};
constexpr std::array<std::string_view, 3> kWideStops = {"\u3002", "\uff01", "\uff1f"};
constexpr std::string_view kBullet = "\u2022";

bool is_mark(char c) { return c == '.' || c == '!' || c == '?'; }
bool is_space(char c) { return c != '\0' && std::strchr(" \t\r\n\f\v", c) != nullptr; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

template <std::size_t N>
std::size_t match_any(std::string_view rest, const std::array<std::string_view, N>& words) {
  for (const std::string_view word : words) {
    if (rest.starts_with(word)) {
      return word.size();
    }
  }
  return 0;
}

std::size_t skip_closing(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    if (std::strchr("\"')]", text[at]) != nullptr && text[at] != '\0') {
      ++at;
    } else if (const std::size_t size = match_any(text.substr(at), kClosingQuotes)) {
      at += size;
    } else {
      break;
    }
  }
  return at;
}

/// The word right before the full stop at `stop`.
std::string_view word_before(std::string_view text, std::size_t begin, std::size_t stop) {
  std::size_t first = stop;
  while (first > begin && !is_space(text[first - 1]) && text[first - 1] != '(') {
    --first;
  }
  return text.substr(first, stop - first);
}

/// Whether the full stop at `stop` belongs to an abbreviation, an initial or a short number.
bool stop_belongs_to_word(std::string_view text, std::size_t begin, std::size_t stop) {
  const std::string_view word = word_before(text, begin, stop);
  if (word.size() == 1 && is_upper(word[0])) {
    return true;
  }
  if (word.size() <= 2 && !word.empty() && std::all_of(word.begin(), word.end(), is_digit)) {
    return true;
  }
  std::string lower(word);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; });
  return std::binary_search(kAbbreviations.begin(), kAbbreviations.end(), lower);
}

bool starts_with_bullet(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t");
  if (first == std::string_view::npos) {
    return false;
  }
  line.remove_prefix(first);
  if (line.starts_with(kBullet)) {
    return true;
  }
  if (line.size() >= 2 && std::strchr("-*+", line[0]) != nullptr && line[1] == ' ') {
    return true;
  }
  std::size_t digits = 0;
  while (digits < line.size() && digits < 3 && is_digit(line[digits])) {
    ++digits;
  }
  return digits > 0 && line.size() > digits + 1 && (line[digits] == '.' || line[digits] == ')') &&
         line[digits + 1] == ' ';
}

/// Whether the line break at `at` ends a sentence: a blank line or a bullet follows.
bool breaks_line(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at + 1);
  const std::size_t next = rest.find_first_not_of(" \t\r");
  return next == std::string_view::npos || rest[next] == '\n' || starts_with_bullet(rest);
}

/// The end of the sentence that stops with the mark at `at`, or 0 when it goes on.
std::size_t end_after_mark(std::string_view text, std::size_t begin, std::size_t at) {
  std::size_t last = at;
  while (last + 1 < text.size() && is_mark(text[last + 1])) {
    ++last;
  }
  const std::size_t end = skip_closing(text, last + 1);
  if (end < text.size() && !is_space(text[end])) {
    return 0;
  }
  std::size_t next = end;
  while (next < text.size() && is_space(text[next])) {
    ++next;
  }
  if (next < text.size() && is_lower(text[next])) {
    return 0;
  }
  const bool single_stop = text[at] == '.' && last == at;
  if (single_stop && next < text.size() && stop_belongs_to_word(text, begin, at)) {
    return 0;
  }
  return end;
}

/// The end of the sentence that begins at `begin`.
std::size_t find_end(std::string_view text, std::size_t begin) {
  for (std::size_t at = begin; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') {
      if (breaks_line(text, at)) {
        return at;
      }
    } else if (is_mark(c)) {
      // A run of marks is judged once, at its first, so that a megabyte of dots costs one pass.
      const bool judged = at > begin && is_mark(text[at - 1]);
      if (judged) {
        continue;
      }
      if (const std::size_t end = end_after_mark(text, begin, at)) {
        return end;
      }
    } else if (const std::size_t size = match_any(text.substr(at), kWideStops)) {
      return skip_closing(text, at + size);
    }
  }
  return text.size();
}

}  // namespace

std::vector<std::pair<std::size_t, std::size_t>> split_sentences(std::string_view text) {
  std::vector<std::pair<std::size_t, std::size_t>> sentences;
  std::size_t begin = 0;
  while (true) {
    while (begin < text.size() && is_space(text[begin])) {
      ++begin;
    }
    if (begin == text.size()) {
      return sentences;
    }
    const std::size_t end = find_end(text, begin);
    std::size_t last = end;
    while (last > begin && is_space(text[last - 1])) {
      --last;
    }
    sentences.emplace_back(begin, last);
    begin = end;
  }
}

}  // namespace alluvium::memory_bank
