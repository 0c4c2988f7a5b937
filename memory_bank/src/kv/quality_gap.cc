#include "kv/quality_gap.h"

#include <algorithm>
#include <numeric>

#include "alluvium/backbone/generation.h"
#include "prefix_layout.h"

namespace alluvium::memory_bank {
namespace {

/// Read before the tokens that count: where in the chunk one is must first be found.
constexpr int64_t kLeadIn = 4;

/// Chunks read at once. The logits of a vocabulary of 50,000 take 200 kB a token: the short chunks of
/// one ingest batch would take a gigabyte.
constexpr std::size_t kGroup = 16;

/// Where the tokens begin: the same for the same chunk.
int64_t begin_of(const Chunk& chunk, int64_t window) {
  const Digest digest = hash_tokens(chunk.tokens);
  const uint64_t draw = static_cast<uint64_t>(digest[0]) << 16 |
                        static_cast<uint64_t>(digest[1]) << 8 | static_cast<uint64_t>(digest[2]);
  return static_cast<int64_t>(draw % static_cast<uint64_t>(std::ssize(chunk.tokens) - window + 1));
}

double mean_nll(const at::Tensor& logits, std::span<const backbone::TokenId> tokens) {
  const auto scored = std::ssize(tokens) - kLeadIn;
  // Logits after token i are those of token i + 1.
  const auto scores = backbone::token_log_probabilities(
      logits.narrow(0, kLeadIn - 1, scored), tokens.subspan(static_cast<std::size_t>(kLeadIn)));
  return -std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(scored);
}

/// Gaps of a few chunks, read in one batch.
void measure_group(const backbone::Decoder& decoder, const SharedPrefix& prefix, const Codec& codec,
                   std::span<const Chunk> chunks, std::span<const ObservedReading> readings,
                   std::span<const Memory> memories, int64_t window,
                   std::span<std::optional<double>> gaps) {
  const auto first = std::ssize(prefix.tokens);
  std::vector<backbone::KvCache> caches;
  caches.reserve(2 * chunks.size());  // requests point into it
  std::vector<backbone::ReadRequest> requests;
  std::vector<std::size_t> owners;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const auto n = std::ssize(chunks[i].tokens);
    if (n < window || first + n + window > decoder.geometry().max_positions) {
      continue;
    }
    backbone::KvPrefix whole;
    whole.segments = {prefix.segment, place_document(readings[i].keys, readings[i].values, first)};
    whole.segments.back().context = false;
    whole.next_position = first + n;
    const std::shared_ptr<const Memory> memory(&memories[i], [](const Memory*) {});
    caches.push_back(decoder.start(whole, window));
    caches.push_back(decoder.start(codec.to_prefix({&memory, 1}, window), window));
    for (std::size_t side = 2; side > 0; --side) {
      requests.push_back(
          {.cache = &caches[caches.size() - side],
           .tokens = std::span(chunks[i].tokens)
                         .subspan(static_cast<std::size_t>(begin_of(chunks[i], window)),
                                  static_cast<std::size_t>(window)),
           .logits = backbone::Logits::all});
    }
    owners.push_back(i);
  }
  if (requests.empty()) {
    return;
  }
  const std::vector<backbone::ReadResult> results = decoder.read(requests);
  for (std::size_t i = 0; i < owners.size(); ++i) {
    gaps[owners[i]] = mean_nll(results[2 * i + 1].logits, requests[2 * i + 1].tokens) -
                      mean_nll(results[2 * i].logits, requests[2 * i].tokens);
  }
}

}  // namespace

std::vector<std::optional<double>> measure_quality_gaps(
    const backbone::Decoder& decoder, const SharedPrefix& prefix, const Codec& codec,
    std::span<const Chunk> chunks, std::span<const ObservedReading> readings,
    std::span<const Memory> memories, int64_t tokens) {
  std::vector<std::optional<double>> gaps(chunks.size());
  for (std::size_t from = 0; from < chunks.size(); from += kGroup) {
    const std::size_t count = std::min(kGroup, chunks.size() - from);
    measure_group(decoder, prefix, codec, chunks.subspan(from, count),
                  readings.subspan(from, count), memories.subspan(from, count), kLeadIn + tokens,
                  std::span(gaps).subspan(from, count));
  }
  return gaps;
}

}  // namespace alluvium::memory_bank
