// Cuts text into the words that byte-level BPE merges within.
//
// Purpose: the published regular expressions of the supported tokenizers, as one scanner over code points without a regex engine.
// Source : GPT-2 (encoder.py of https://github.com/openai/gpt-2):
//            's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//          SmolLM: the same between digits, which stand alone.
//          Llama 3:
//            (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//          Qwen 2: as Llama 3 with \p{N} in place of \p{N}{1,3}.
// Threads: thread-compatible.
#pragma once

#include <cstdint>
#include <string_view>

#include "unicode_classes.h"

namespace alluvium::backbone {

enum class SplitRule : uint8_t { gpt2, smollm, llama3, qwen2 };

const char* to_string(SplitRule rule);

class WordSplitter {
 public:
  WordSplitter(SplitRule rule, std::string_view text) : rule_(rule), text_(text) {}

  /// The next word; empty at the end of the text. All words together are the text.
  std::string_view next();

 private:
  CharacterClass class_of(char32_t code_point) const;
  CharacterClass class_at(std::size_t offset) const;
  std::size_t width_at(std::size_t offset) const;
  bool ends_segment(std::size_t offset) const;
  std::size_t run_end(std::size_t from, CharacterClass run) const;
  std::size_t space_end(std::size_t from) const;
  std::size_t contraction_end(std::size_t from) const;
  std::size_t gpt2_end(std::size_t from) const;
  std::size_t llama3_end(std::size_t from) const;

  SplitRule rule_;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace alluvium::backbone
