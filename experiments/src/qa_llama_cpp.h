// llama.cpp as a way to answer: whatever was found stands in the prompt and is read again for every question.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "alluvium/backbone/tokenizer.h"

namespace alluvium::experiments {

struct PeerAnswer {
  std::string text;
  double first_token_ms = 0;  ///< reading what the prompt does not share with the one before it
  double total_ms = 0;
  int64_t read_tokens = 0;
  int64_t answer_tokens = 0;
};

/// `script` is experiments/peers/llama_cpp_answers.py, `decoder` a GGUF file. Throws
/// InvalidArgument when the peers are not installed or the script fails.
std::vector<PeerAnswer> ask_llama_cpp(const std::string& script, const std::string& decoder,
                                      const std::vector<std::vector<backbone::TokenId>>& prompts,
                                      int64_t threads, int64_t max_tokens);

}  // namespace alluvium::experiments
