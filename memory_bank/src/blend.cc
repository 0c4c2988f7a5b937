#include "alluvium/memory_bank/blend.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/core/error.h"
#include "prefix_layout.h"

namespace alluvium::memory_bank {
namespace {

// Beyond it a chunk is read whole: for at most twice the work it is exact, and so is every later
// sequence that has the same chunks before it.
constexpr double kHighestOverhead = 0.5;

/// A document of a sequence, and what is recomputed of it.
struct Place {
  int64_t chunk = 0;
  std::shared_ptr<const Memory> memory;  // what is attended to
  std::vector<int64_t> rows;             // to recompute, rising
  bool whole = false;                    // all of them, and behind others: to be kept
};

/// In the order of the sequence, the best last.
std::vector<Place> plan(std::span<const std::shared_ptr<const Memory>> memories,
                        std::span<const int64_t> chunks, double alpha, MemoryCache& variants) {
  std::vector<Place> places;
  std::vector<int64_t> before;
  for (std::size_t i = memories.size(); i-- > 0;) {
    Place place{.chunk = chunks[i], .memory = memories[i], .rows = {}};
    if (!before.empty()) {
      const auto variant = variants.best_variant(place.chunk, place.memory->fingerprint, before);
      const double overhead = variant ? fix_overhead(variant->context, before, alpha) : 1;
      place.whole = overhead > kHighestOverhead;
      if (place.whole) {
        place.rows.resize(static_cast<std::size_t>(place.memory->length()));
        std::iota(place.rows.begin(), place.rows.end(), int64_t{0});
      } else {
        place.memory = variant->memory;
        place.rows =
            most_outward(variant->outward, tokens_to_fix(overhead, place.memory->length()));
      }
    }
    before.push_back(place.chunk);
    places.push_back(std::move(place));
  }
  return places;
}

/// The recomputed rows [begin, begin + tokens) are document `at` of the sequence, whole.
std::shared_ptr<const ChunkVariant> variant_of(const std::vector<Place>& places, std::size_t at,
                                               const backbone::RecomputedRows& made,
                                               int64_t begin) {
  const Place& place = places[at];
  const int64_t tokens = place.memory->length();
  Memory memory;
  memory.fingerprint = place.memory->fingerprint;
  memory.document_sha = place.memory->document_sha;
  memory.tokens = place.memory->tokens;
  memory.keys = made.keys.narrow(2, begin, tokens).to(at::kCPU).clone();
  memory.values = made.values.narrow(2, begin, tokens).to(at::kCPU).clone();

  const at::Tensor attention = made.attention.narrow(1, begin, tokens);  // [layers, tokens, parts]
  const at::Tensor of_layers = attention.sum(1, false, at::kDouble).t().contiguous();
  const auto paid_to = [&](std::size_t part) {
    const at::Tensor layers = of_layers[static_cast<int64_t>(part)];
    const auto* numbers = layers.const_data_ptr<double>();
    return std::vector<double>(numbers, numbers + layers.numel());
  };
  auto variant = std::make_shared<ChunkVariant>();
  variant->context.tokens = tokens;
  variant->context.within = paid_to(at);
  for (std::size_t i = 0; i < at; ++i) {
    variant->context.before.push_back(
        {.chunk = places[i].chunk, .tokens = places[i].memory->length(), .attention = paid_to(i)});
  }
  const at::Tensor outward =
      attention.narrow(2, 0, static_cast<int64_t>(at)).sum(2).mean(0).contiguous();
  variant->outward.assign(outward.const_data_ptr<float>(),
                          outward.const_data_ptr<float>() + tokens);
  variant->memory = std::make_shared<const Memory>(std::move(memory));
  return variant;
}

}  // namespace

BlendedCache start_blended(const backbone::Decoder& decoder, const Codec& codec,
                           std::span<const std::shared_ptr<const Memory>> memories, int64_t room,
                           double share) {
  BlendedCache blended{
      decoder.start(codec.to_prefix(memories, room, PositionScheme::sequential), room)};
  if (codec.stores_tensors() && memories.size() > 1) {
    const std::vector<backbone::TokenId> tokens = sequence_tokens(memories);
    blended.recomputed = static_cast<int64_t>(
        decoder.repair({.cache = &blended.cache, .tokens = tokens, .share = share}).size());
  }
  return blended;
}

BlendedCache start_reused(const backbone::Decoder& decoder, const Codec& codec,
                          std::span<const std::shared_ptr<const Memory>> memories,
                          std::span<const int64_t> chunks, int64_t room, double alpha,
                          MemoryCache& variants) {
  ALLUVIUM_CHECK(chunks.size() == memories.size(), "{} memories are of {} chunks", memories.size(),
                 chunks.size());
  if (!codec.stores_tensors() || memories.size() < 2) {
    return start_blended(decoder, codec, memories, room, 0);
  }
  const uint64_t removals = variants.removals();
  const std::vector<Place> places = plan(memories, chunks, alpha, variants);
  std::vector<std::shared_ptr<const Memory>> best_first;
  std::vector<int64_t> rows;
  std::vector<int64_t> parts;
  int64_t first = 0;
  bool measured = false;
  for (const Place& place : places) {
    best_first.insert(best_first.begin(), place.memory);
    for (const int64_t row : place.rows) {
      rows.push_back(first + row);
    }
    parts.push_back(place.memory->length());
    first += place.memory->length();
    measured = measured || place.whole;
  }
  BlendedCache reused{
      decoder.start(codec.to_prefix(best_first, room, PositionScheme::sequential), room),
      static_cast<int64_t>(rows.size())};
  if (rows.empty()) {
    return reused;
  }
  const std::vector<backbone::TokenId> tokens = sequence_tokens(best_first);
  const backbone::RecomputedRows made = decoder.recompute(
      {.cache = &reused.cache,
       .tokens = tokens,
       .rows = rows,
       .parts = measured ? std::span<const int64_t>(parts) : std::span<const int64_t>()});
  int64_t begin = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i].whole) {
      variants.insert_variant(places[i].chunk, variant_of(places, i, made, begin), removals);
    }
    begin += static_cast<int64_t>(places[i].rows.size());
  }
  return reused;
}

}  // namespace alluvium::memory_bank
