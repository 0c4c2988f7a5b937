// What a decoder says over a cache, read and decoded. Needs the room backbone.
#pragma once

#include <vector>

#include <ATen/ops/cat.h>

#include "alluvium/backbone/decoder.h"

namespace alluvium::tests {

/// Logits of a question read at once, then of three tokens one by one: float32 [question + 3, vocabulary].
inline at::Tensor question_logits(const backbone::Decoder& decoder, backbone::KvCache& cache,
                                  const std::vector<backbone::TokenId>& question) {
  const backbone::ReadRequest request{
      .cache = &cache, .tokens = question, .logits = backbone::Logits::all};
  std::vector<at::Tensor> logits = {decoder.read({&request, 1}).front().logits};
  for (const backbone::TokenId token : {3, 1, 4}) {
    const backbone::ReadRequest one{
        .cache = &cache, .tokens = {&token, 1}, .logits = backbone::Logits::all};
    logits.push_back(decoder.read({&one, 1}).front().logits);
  }
  return at::cat(logits);
}

}  // namespace alluvium::tests
