// The stored sample of the tokenizer oracle: tests/oracle/tokenizers/sample.json.
#pragma once

#include <string>
#include <vector>

#include "alluvium/backbone/tokenizer.h"

namespace alluvium::tests {

struct TokenizerSample {
  std::string text;
  std::vector<backbone::TokenId> plain;      ///< reference ids with special tokens spelled out
  std::vector<backbone::TokenId> recognise;  ///< reference ids with special tokens found
};

/// The rows for one reference: "smollm" or "minilm".
std::vector<TokenizerSample> read_tokenizer_sample(const std::string& reference);

/// Requires a tokenizer's ids to be the reference's on every row, in both modes.
void require_reference_ids(const backbone::Tokenizer& tokenizer, const std::string& reference);

}  // namespace alluvium::tests
