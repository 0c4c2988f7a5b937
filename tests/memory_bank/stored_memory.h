// Memories of random keys and values, stored as the kv codec would.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include "alluvium/core/random.h"
#include "bank_fixtures.h"
#include "kv/channels.h"
#include "kv/storage.h"

namespace alluvium::tests {

inline constexpr int64_t kLayers = 6;
inline constexpr int64_t kKvHeads = 2;
inline constexpr int64_t kHeadWidth = 7;  // codes of 3 bits end within a byte

inline at::Tensor random_rows(Random& random, int64_t tokens) {
  const at::Tensor rows = at::empty({kLayers, kKvHeads, tokens, kHeadWidth}, at::kFloat);
  auto* number = rows.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows.numel(); ++i) {
    // One channel is constant.
    number[i] = i % kHeadWidth == 3 ? 0.7F : static_cast<float>(3 * random.normal());
  }
  return rows;
}

/// Another number of rows in every layer and head, at least one.
inline memory_bank::KeptRows random_choice(Random& random, int64_t tokens) {
  memory_bank::KeptRows kept;
  std::vector<int64_t> positions;
  for (int64_t slot = 0; slot < kLayers * kKvHeads; ++slot) {
    const std::size_t before = positions.size();
    for (int64_t token = 0; token < tokens; ++token) {
      if (random.below(3) == 0 || (token == tokens - 1 && positions.size() == before)) {
        positions.push_back(token);
      }
    }
    kept.counts.push_back(static_cast<int64_t>(positions.size() - before));
  }
  kept.positions = at::tensor(positions, at::kLong);
  return kept;
}

/// Other channels in every layer and head, at least one.
inline std::vector<memory_bank::HeadChannels> random_channels(Random& random) {
  std::vector<memory_bank::HeadChannels> channels(kLayers * kKvHeads);
  for (memory_bank::HeadChannels& head : channels) {
    for (int64_t c = 0; c < kHeadWidth; ++c) {
      if (random.below(2) == 0 || (c == kHeadWidth - 1 && head.kept.empty())) {
        head.kept.push_back(c);
      } else {
        head.constant.push_back(static_cast<float>(random.normal()));
      }
    }
  }
  return channels;
}

/// A memory of random rows as these settings store it; with merge = compensation each head has the
/// row of those it lost.
inline memory_bank::Memory stored_memory(
    const memory_bank::KvSettings& settings, int64_t tokens, const memory_bank::KeptRows& kept,
    at::ScalarType type, Random& random,
    const std::vector<memory_bank::HeadChannels>& channels = {}) {
  memory_bank::Memory memory;
  memory.fingerprint = bank_fingerprint();
  for (int64_t token = 0; token < tokens; ++token) {
    memory.tokens.push_back(static_cast<backbone::TokenId>(random.below(70000)));
  }
  memory.document_sha = memory_bank::hash_tokens(memory.tokens);
  const at::Tensor keys = random_rows(random, tokens);
  memory_bank::CompensationRows compensation;
  if (settings.merge == "compensation") {
    const at::Tensor rows = at::empty({kLayers * kKvHeads, kHeadWidth}, at::kFloat);
    compensation.keys = rows.clone().fill_(0.25);
    compensation.values = rows.clone().fill_(-3);
    for (const int64_t count : kept.counts) {
      compensation.counts.push_back(tokens - count);
    }
  }
  auto stored = std::make_shared<const memory_bank::StoredKv>(
      store_kv(keys, random_rows(random, tokens), kept, type, settings, compensation, channels));
  load_kv(*stored, layers_of(*stored), memory);
  memory.stored = std::move(stored);
  return memory;
}

}  // namespace alluvium::tests
