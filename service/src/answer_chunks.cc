#include "answer_chunks.h"

#include <cctype>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "alluvium/core/error.h"

namespace alluvium::service {
namespace {

constexpr double kK1 = 1.2;
constexpr double kB = 0.75;

std::vector<std::string> split_terms(std::string_view text) {
  std::vector<std::string> terms(1);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x7f || std::isalnum(byte) != 0) {
      terms.back().push_back(byte > 0x7f ? c : static_cast<char>(std::tolower(byte)));
    } else if (!terms.back().empty()) {
      terms.emplace_back();
    }
  }
  if (terms.back().empty()) {
    terms.pop_back();
  }
  return terms;
}

struct Part {
  std::map<std::string, int64_t> counts;
  double length = 0;
};

}  // namespace

std::size_t best_part(std::string_view question, std::span<const std::string_view> texts) {
  ALLUVIUM_CHECK(!texts.empty(), "a document without parts has no best part");
  std::vector<Part> parts;
  std::map<std::string, int64_t> parts_with;
  double total_length = 0;
  for (const std::string_view text : texts) {
    Part& part = parts.emplace_back();
    for (std::string& term : split_terms(text)) {
      ++part.counts[std::move(term)];
      part.length += 1;
    }
    for (const auto& [term, count] : part.counts) {
      ++parts_with[term];
    }
    total_length += part.length;
  }
  const auto n = static_cast<double>(parts.size());
  const double mean_length = total_length > 0 ? total_length / n : 1;
  const std::vector<std::string> terms = split_terms(question);
  const std::set<std::string> wanted(terms.begin(), terms.end());

  std::size_t best = 0;
  double best_score = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    double score = 0;
    for (const std::string& term : wanted) {
      const auto found = parts[i].counts.find(term);
      if (found == parts[i].counts.end()) {
        continue;
      }
      const auto df = static_cast<double>(parts_with[term]);
      const auto tf = static_cast<double>(found->second);
      const double idf = std::log(1 + (n - df + 0.5) / (df + 0.5));
      score += idf * tf * (kK1 + 1) / (tf + kK1 * (1 - kB + kB * parts[i].length / mean_length));
    }
    if (score > best_score) {
      best_score = score;
      best = i;
    }
  }
  return best;
}

}  // namespace alluvium::service
