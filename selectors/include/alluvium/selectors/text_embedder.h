// Texts to unit vectors, as the embedding selector needs them; encoder_embedder.h makes one of the backbone's encoder.
//
// Threads: immutable; embed() may run on many threads.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace alluvium::selectors {

class TextEmbedder {
 public:
  virtual ~TextEmbedder() = default;

  /// One vector of length 1 a text, all of the same dimension.
  virtual std::vector<std::vector<float>> embed(std::span<const std::string> texts) const = 0;
};

}  // namespace alluvium::selectors
