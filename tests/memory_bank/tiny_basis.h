// A basis of the tiny Llama's keys and values.
#pragma once

#include <memory>

#include "alluvium/memory_bank/kv_basis.h"
#include "tiny_model.h"

namespace alluvium::tests {

/// What the tiny Llama makes of tokens behind its shared prefix, with queries.
inline backbone::ReadResult read_with_queries(const TinyModel& model, const Tokens& tokens) {
  backbone::KvPrefix start;
  start.segments.push_back(model.prefix.segment);
  start.next_position = static_cast<int64_t>(kPrefix.size());
  backbone::KvCache cache = model.decoder->start(start, static_cast<int64_t>(tokens.size()));
  backbone::ReadRequest request;
  request.cache = &cache;
  request.tokens = tokens;
  request.capture = true;
  request.queries = true;
  return model.decoder->read({&request, 1}).front();
}

inline std::shared_ptr<const memory_bank::KvBasis> fit_basis(const TinyModel& model) {
  memory_bank::KvBasisFit fit(*model.decoder);
  for (TokenId first = 0; first < 10; ++first) {
    fit.add(read_with_queries(model, chunk_of(11 * first, 50).tokens));
  }
  return std::make_shared<const memory_bank::KvBasis>(fit.finish());
}

}  // namespace alluvium::tests
