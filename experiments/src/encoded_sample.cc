#include "encoded_sample.h"

#include <algorithm>

namespace alluvium::experiments {

using backbone::TokenId;

EncodedSample encode_sample(const backbone::Tokenizer& tokenizer, const selectors::Sample& sample,
                            int64_t max_tokens) {
  const TokenId anchor = tokenizer.find_token("<|endoftext|>").value_or(0);
  const auto most = static_cast<std::size_t>(max_tokens);
  EncodedSample encoded;
  encoded.tokens = {anchor};
  const auto append = [&](const std::vector<TokenId>& tokens) {
    encoded.tokens.insert(encoded.tokens.end(), tokens.begin(), tokens.end());
  };
  if (sample.is_plain_text()) {
    append(tokenizer.encode(sample.text));
    encoded.tokens.resize(std::min(encoded.tokens.size(), most));
    return encoded;
  }
  std::vector<TokenId> document =
      sample.document.empty() ? std::vector<TokenId>() : tokenizer.encode(sample.document + "\n\n");
  const std::vector<TokenId> prompt = tokenizer.encode(sample.prompt);
  const std::vector<TokenId> answer = tokenizer.encode(sample.answer);
  const std::size_t fixed = 1 + prompt.size() + answer.size();
  const std::size_t room = most > fixed ? most - fixed : 0;
  if (document.size() > room) {
    document.erase(document.begin(), document.end() - static_cast<std::ptrdiff_t>(room));
  }
  append(document);
  append(prompt);
  encoded.scored_from = static_cast<int64_t>(encoded.tokens.size());
  append(answer);
  return encoded;
}

PackedSamples::PackedSamples(const backbone::Decoder& decoder,
                             std::span<const EncodedSample* const> samples) {
  contexts.reserve(samples.size());
  for (const EncodedSample* sample : samples) {
    contexts.push_back(decoder.start({}, 0));
    sequences.push_back({&contexts.back(), sample->tokens, sample->scored_from});
  }
}

}  // namespace alluvium::experiments
