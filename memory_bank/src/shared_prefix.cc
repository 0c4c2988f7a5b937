#include <utility>

#include <ATen/ops/arange.h>

#include "alluvium/backbone/rope.h"
#include "alluvium/core/error.h"
#include "alluvium/memory_bank/codec.h"

namespace alluvium::memory_bank {

SharedPrefix read_shared_prefix(const backbone::Decoder& decoder,
                                std::vector<backbone::TokenId> tokens) {
  ALLUVIUM_CHECK(!tokens.empty(), "the shared prefix must have at least one token");
  const backbone::DecoderGeometry& geometry = decoder.geometry();
  const auto length = static_cast<int64_t>(tokens.size());
  backbone::KvCache cache = decoder.start({}, length);
  backbone::ReadRequest request;
  request.cache = &cache;
  request.tokens = tokens;
  request.capture = true;
  const backbone::ReadResult read = decoder.read({&request, 1}).front();

  SharedPrefix prefix;
  prefix.segment.positions = at::arange(length, at::TensorOptions().dtype(at::kLong));
  const backbone::Rope rope(geometry.head_dim, geometry.rope_base, geometry.max_positions);
  // Rotated once here instead of at every question: the prefix never moves.
  prefix.segment.keys = rope.rotate(read.keys, prefix.segment.positions);
  prefix.segment.values = read.values;
  prefix.segment.key_space = backbone::KeySpace::rotated;
  prefix.tokens = std::move(tokens);
  return prefix;
}

}  // namespace alluvium::memory_bank
