// Texts with published sizes, and generators of longer ones.
//
// Source: the exact vectors of ZIP-FIT's reference procedure (zlib 1.2.13, liblz4 1.9.4, libzstd 1.5.4).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "alluvium/core/random.h"
#include "alluvium/selectors/selector.h"

namespace alluvium::tests {

inline const std::string kA = "the quick brown fox jumps over the lazy dog";
inline const std::string kB = "the quick brown fox jumps over the lazy cat";
inline const std::string kCc = "pack my box with five dozen liquor jugs";
inline const std::string kP1 =
    "def add(a, b):\n    \"\"\"Return the sum of a and b.\"\"\"\n    return a + b\n";
inline const std::string kP2 =
    "def sub(a, b):\n    \"\"\"Return the difference of a and b.\"\"\"\n    return a - b\n";
inline const std::string kP3 =
    "def is_even(n):\n    \"\"\"Return True if n is even.\"\"\"\n    return n % 2 == 0\n";
inline const std::string kN1 =
    "The river rose two metres overnight and the lower town was evacuated.\n";
inline const std::string kN2 =
    "Forecasters expect the river to fall below flood level by Thursday.\n";

/// The linear congruential generator of the vectors: symbols chosen by (x >> 16) mod the alphabet's size.
inline std::string generated(std::size_t count, uint32_t seed, const std::string& alphabet) {
  std::string text;
  for (uint32_t x = seed; text.size() < count;) {
    x = (1103515245U * x + 12345U) & 0x7fffffffU;
    text += alphabet[(x >> 16) % alphabet.size()];
  }
  return text;
}

inline std::string all_bytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes += static_cast<char>(i);
  }
  return bytes;
}

/// i * 2654435761 mod 10^8 for i < count, each as eight digits and a space: no number twice.
inline std::string distinct_numbers(uint64_t count) {
  std::string text;
  for (uint64_t i = 0; i < count; ++i) {
    std::string digits = std::to_string(i * 2654435761U % 100'000'000U);
    text += std::string(8 - digits.size(), '0') + digits + " ";
  }
  return text;
}

/// Text of `bytes` bytes with the repeats of language: words of a small vocabulary, Zipf-like; seed and vocabulary size vary it.
inline std::string babble(Random& random, std::size_t bytes, uint64_t vocabulary) {
  std::string text;
  while (text.size() < bytes) {
    const uint64_t rank = random.below(1 + random.below(vocabulary));
    Random word(rank * 77 + 5);
    for (uint64_t letters = 1 + word.below(9); letters > 0; --letters) {
      text += static_cast<char>('a' + word.below(26));
    }
    text += random.below(12) == 0 ? ".\n" : " ";
  }
  text.resize(bytes);
  return text;
}

inline std::unique_ptr<selectors::Selector> make_selector(
    const std::string& name, const selectors::SelectorOptions& options) {
  selectors::SelectorRegistry registry("selector");
  selectors::register_selectors(registry);
  return registry.make(name, options);
}

inline std::shared_ptr<const selectors::TargetSet> targets_of(std::vector<std::string> texts) {
  return std::make_shared<selectors::TargetSet>(selectors::TargetSet{1, std::move(texts)});
}

inline std::vector<selectors::Sample> samples_of(const std::vector<std::string>& texts) {
  std::vector<selectors::Sample> samples;
  for (const std::string& text : texts) {
    samples.push_back(
        {"row-" + std::to_string(samples.size()), text, static_cast<int64_t>(samples.size())});
  }
  return samples;
}

/// Options with which every text, however short, is scored as one piece: the reference procedure.
inline selectors::SelectorOptions whole_texts(const std::string& mode) {
  selectors::SelectorOptions options;
  options.mode = mode;
  options.length.min_bytes = 0;
  options.length.chunk_bytes = 0;
  return options;
}

}  // namespace alluvium::tests
