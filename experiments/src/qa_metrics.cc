#include "alluvium/experiments/qa_metrics.h"

#include <algorithm>
#include <map>

#include <utf8proc.h>

namespace alluvium::experiments {
namespace {

bool is_ascii_punctuation(utf8proc_int32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

bool is_white_space(utf8proc_int32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f) || c == 0x85 ||
         utf8proc_category(c) == UTF8PROC_CATEGORY_ZS || c == 0x2028 || c == 0x2029;
}

bool is_word_character(utf8proc_int32_t c) {
  const utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

bool is_article(std::string_view word) { return word == "a" || word == "an" || word == "the"; }

void append(std::string& text, utf8proc_int32_t c) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t length = utf8proc_encode_char(c, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
}

std::vector<std::string> words(std::string_view normalised) {
  std::vector<std::string> split;
  std::size_t from = 0;
  while (from < normalised.size()) {
    const std::size_t to = std::min(normalised.find(' ', from), normalised.size());
    split.emplace_back(normalised.substr(from, to - from));
    from = to + 1;
  }
  return split;
}

double f1_of(const std::vector<std::string>& predicted, const std::vector<std::string>& gold) {
  if (predicted.empty() || gold.empty()) {
    return predicted.empty() == gold.empty() ? 1 : 0;
  }
  std::map<std::string, int> left;
  for (const std::string& word : gold) {
    ++left[word];
  }
  double common = 0;
  for (const std::string& word : predicted) {
    const auto found = left.find(word);
    if (found != left.end() && found->second > 0) {
      --found->second;
      common += 1;
    }
  }
  return 2 * common / static_cast<double>(predicted.size() + gold.size());
}

const std::vector<std::string>& golds(const std::vector<std::string>& answers) {
  static const std::vector<std::string> unanswerable = {""};
  return answers.empty() ? unanswerable : answers;
}

}  // namespace

std::string normalise_answer(std::string_view text) {
  std::string normalised;
  std::string
      word;  // the run of word characters in hand: an article only when the run is nothing else
  const auto end_word = [&] {
    normalised += is_article(word) ? " " : word;
    word.clear();
  };
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t length = utf8proc_iterate(bytes, left, &c);
    if (length <= 0) {
      c = 0xfffd;
      length = 1;
    }
    bytes += length;
    left -= length;
    if (is_ascii_punctuation(c)) {
      continue;
    }
    if (is_word_character(c)) {
      append(word, utf8proc_tolower(c));
      continue;
    }
    end_word();
    append(normalised, is_white_space(c) ? ' ' : c);
  }
  end_word();

  std::string collapsed;
  for (const char c : normalised) {
    if (c != ' ' || (!collapsed.empty() && collapsed.back() != ' ')) {
      collapsed.push_back(c);
    }
  }
  if (!collapsed.empty() && collapsed.back() == ' ') {
    collapsed.pop_back();
  }
  return collapsed;
}

double exact_match(std::string_view prediction, const std::vector<std::string>& answers) {
  const std::string predicted = normalise_answer(prediction);
  return std::any_of(golds(answers).begin(), golds(answers).end(),
                     [&](const std::string& gold) { return normalise_answer(gold) == predicted; })
             ? 1
             : 0;
}

double token_f1(std::string_view prediction, const std::vector<std::string>& answers) {
  const std::vector<std::string> predicted = words(normalise_answer(prediction));
  double best = 0;
  for (const std::string& gold : golds(answers)) {
    best = std::max(best, f1_of(predicted, words(normalise_answer(gold))));
  }
  return best;
}

}  // namespace alluvium::experiments
