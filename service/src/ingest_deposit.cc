#include "ingest_deposit.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/core/Tensor.h>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/sentences.h"
#include "alluvium/service/prompt.h"

namespace alluvium::service {
namespace {

// At 46 KB of float32 keys and values a token for the default model this is 0.75 GB of memories in
// one deposit.
constexpr int64_t kDepositTokens = 16384;
constexpr std::size_t kEmbedTexts = 256;

}  // namespace

std::vector<float> embed_keys(const backbone::Encoder& encoder,
                              std::span<const std::string> texts) {
  std::vector<float> keys;
  keys.reserve(texts.size() * static_cast<std::size_t>(encoder.dimension()));
  for (std::size_t from = 0; from < texts.size(); from += kEmbedTexts) {
    const at::Tensor rows =
        encoder.embed(texts.subspan(from, std::min(kEmbedTexts, texts.size() - from))).contiguous();
    const float* values = rows.const_data_ptr<float>();
    keys.insert(keys.end(), values, values + rows.numel());
  }
  if (!std::all_of(keys.begin(), keys.end(), [](float value) { return std::isfinite(value); })) {
    throw NumericError("the encoder gave a key that is not finite");
  }
  return keys;
}

std::vector<memory_bank::Memory> compress_chunks(const memory_bank::Codec& codec,
                                                 std::span<const memory_bank::Chunk> chunks,
                                                 int64_t batch_tokens) {
  std::vector<memory_bank::Memory> memories;
  memories.reserve(chunks.size());
  std::size_t from = 0;
  while (from < chunks.size()) {
    int64_t tokens = 0;
    std::size_t to = from;
    do {
      tokens += static_cast<int64_t>(chunks[to].tokens.size());
      ++to;
    } while (to < chunks.size() &&
             tokens + static_cast<int64_t>(chunks[to].tokens.size()) <= batch_tokens);
    for (memory_bank::Memory& memory : codec.compress(chunks.subspan(from, to - from))) {
      memories.push_back(std::move(memory));
    }
    from = to;
  }
  return memories;
}

DepositMaker::DepositMaker(const Models& models, const memory_bank::Codec& codec,
                           const TemplateConfiguration& prompt, const IngestConfiguration& options)
    : models_(models), codec_(codec), prompt_(prompt), options_(options) {}

PlannedPut DepositMaker::plan(memory_bank::LogEntry entry) const {
  PlannedPut put;
  put.chunks = document_chunks(prompt_, *models_.decoder_tokenizer, entry.document);
  put.key_texts =
      memory_bank::key_texts(entry.document.title, entry.document.text, options_.keys_per_document);
  for (const memory_bank::Chunk& chunk : put.chunks) {
    put.tokens += static_cast<int64_t>(chunk.tokens.size());
  }
  put.deferred = codec_.stores_tensors() && put.tokens > kDepositTokens;
  put.entry = std::move(entry);
  return put;
}

std::vector<memory_bank::Deposit> DepositMaker::make(std::span<const PlannedPut> puts) const {
  std::vector<std::string> texts;
  std::vector<memory_bank::Chunk> chunks;
  for (const PlannedPut& put : puts) {
    texts.insert(texts.end(), put.key_texts.begin(), put.key_texts.end());
    if (!put.deferred) {
      chunks.insert(chunks.end(), put.chunks.begin(), put.chunks.end());
    }
  }
  const std::vector<float> keys = embed_keys(*models_.encoder, texts);
  std::vector<memory_bank::Memory> memories;
  if (codec_.stores_tensors()) {
    memories = compress_chunks(codec_, chunks, options_.batch_tokens);
  }

  std::vector<memory_bank::Deposit> deposits;
  deposits.reserve(puts.size());
  auto memory = memories.begin();
  auto key = keys.begin();
  for (const PlannedPut& put : puts) {
    memory_bank::Deposit& deposit = deposits.emplace_back();
    deposit.offset = put.entry.offset;
    deposit.document = put.entry.document;
    deposit.chunks = put.chunks;
    deposit.key_dimension = models_.encoder->dimension();
    deposit.encoder_fingerprint = models_.encoder->fingerprint();
    const auto key_end = key + static_cast<int64_t>(put.key_texts.size()) * deposit.key_dimension;
    deposit.keys.assign(key, key_end);
    key = key_end;
    if (codec_.stores_tensors() && !put.deferred) {
      const auto memory_end = memory + static_cast<int64_t>(put.chunks.size());
      deposit.memories.assign(std::make_move_iterator(memory), std::make_move_iterator(memory_end));
      memory = memory_end;
    }
  }
  return deposits;
}

}  // namespace alluvium::service
