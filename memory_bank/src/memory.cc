#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

std::size_t Memory::resident_bytes() const {
  std::size_t bytes = tokens.size() * sizeof(backbone::TokenId);
  bytes += (kept.counts.size() + compensation.counts.size()) * sizeof(int64_t);
  if (stored) {
    for (const StoredKv::Layer& layer : stored->layers) {
      bytes += layer.section.size();
    }
  }
  for (const at::Tensor* tensor :
       {&keys, &values, &kept.positions, &compensation.keys, &compensation.values}) {
    if (tensor->defined()) {
      bytes += tensor->nbytes();
    }
  }
  return bytes;
}

Digest hash_tokens(const std::vector<backbone::TokenId>& tokens) {
  // The machines we run on are little-endian, so the ids' own bytes are the serialised form.
  return Sha256().update(tokens.data(), tokens.size() * sizeof(backbone::TokenId)).finish();
}

}  // namespace alluvium::memory_bank
