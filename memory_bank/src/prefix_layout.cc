#include "prefix_layout.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include "alluvium/core/error.h"
#include "kv/settings.h"

namespace alluvium::memory_bank {

PositionScheme parse_position_scheme(const std::string& word) {
  if (word == "parallel") {
    return PositionScheme::parallel;
  }
  if (word == "sequential") {
    return PositionScheme::sequential;
  }
  throw InvalidArgument(
      fmt::format("codec.positions must be parallel or sequential, got '{}'", word));
}

void check_codec_options(const CodecOptions& options) {
  parse_position_scheme(options.positions);
  resolve_settings(options, true);  // a codec that has no basis asks again
  ALLUVIUM_CHECK(options.richer_share >= 0 && options.richer_share <= 0.5,
                 "codec.richer_share must lie in [0, 0.5], got {}", options.richer_share);
  ALLUVIUM_CHECK(options.quality_tokens >= 0 && options.quality_tokens <= 512,
                 "codec.quality_tokens must lie in [0, 512], got {}", options.quality_tokens);
  ALLUVIUM_CHECK(std::isfinite(options.temperature) && options.temperature > 0,
                 "codec.temperature must be positive, got {}", options.temperature);
  ALLUVIUM_CHECK(std::isfinite(options.lse_scale) && options.lse_scale > 0,
                 "codec.lse_scale must be positive, got {}", options.lse_scale);
}

int64_t next_position(PositionScheme scheme, int64_t prefix_length,
                      std::span<const int64_t> lengths) {
  if (lengths.empty()) {
    return prefix_length;
  }
  return prefix_length + (scheme == PositionScheme::parallel
                              ? *std::max_element(lengths.begin(), lengths.end())
                              : std::accumulate(lengths.begin(), lengths.end(), int64_t{0}));
}

void check_room(const backbone::DecoderGeometry& geometry, int64_t next, int64_t room) {
  ALLUVIUM_CHECK(room >= 0, "room must not be negative, got {}", room);
  ALLUVIUM_CHECK(next + room <= geometry.max_positions,
                 "prefix and documents take {} positions and the question with its answer {}; the "
                 "decoder has {}",
                 next, room, geometry.max_positions);
}

backbone::KvSegment place_document(const at::Tensor& keys, const at::Tensor& values,
                                   int64_t first) {
  backbone::KvSegment segment;
  segment.keys = keys;
  segment.values = values;
  segment.positions = at::arange(first, first + keys.size(2), at::TensorOptions().dtype(at::kLong));
  segment.key_space = backbone::KeySpace::pre_rope;
  segment.context = true;
  return segment;
}

backbone::KvSegment place_rows(const Memory& memory, int64_t first) {
  if (memory.kept.everything()) {
    return place_document(memory.keys, memory.values, first);
  }
  backbone::KvSegment segment;
  segment.keys = memory.keys;
  segment.values = memory.values;
  segment.positions = memory.kept.positions + first;
  segment.row_counts = memory.kept.counts;
  segment.key_space = backbone::KeySpace::pre_rope;
  segment.context = true;
  return segment;
}

std::vector<backbone::TokenId> sequence_tokens(
    std::span<const std::shared_ptr<const Memory>> memories) {
  std::vector<backbone::TokenId> tokens;
  for (auto memory = memories.rbegin(); memory != memories.rend(); ++memory) {
    tokens.insert(tokens.end(), (*memory)->tokens.begin(), (*memory)->tokens.end());
  }
  return tokens;
}

backbone::KvSegment place_compensation(const Memory& memory, int64_t first) {
  const CompensationRows& rows = memory.compensation;
  const auto slots = static_cast<int64_t>(rows.counts.size());
  backbone::KvSegment segment;
  segment.keys = rows.keys;
  segment.values = rows.values;
  segment.positions = at::full({slots}, first, at::TensorOptions().dtype(at::kLong));
  // The logarithm of 0 removes a row that stands for none.
  segment.log_bias = at::tensor(rows.counts, at::TensorOptions().dtype(at::kFloat)).log();
  segment.row_counts.assign(rows.counts.size(), 1);
  segment.key_space = backbone::KeySpace::pre_rope;
  segment.context = true;
  return segment;
}

backbone::KvPrefix join_prefix(const SharedPrefix& shared,
                               std::vector<backbone::KvSegment> segments, std::size_t documents,
                               int64_t next, PositionScheme scheme, const CodecOptions& options) {
  backbone::KvPrefix prefix;
  if (documents > 1 && scheme == PositionScheme::parallel) {
    prefix.temperature = options.temperature;
    prefix.lse_scale = options.lse_scale;
  }
  prefix.segments.push_back(shared.segment);
  std::move(segments.begin(), segments.end(), std::back_inserter(prefix.segments));
  prefix.next_position = next;
  return prefix;
}

}  // namespace alluvium::memory_bank
