#include "alluvium/memory_bank/kv_codec.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <ATen/ops/all.h>
#include <ATen/ops/isfinite.h>

#include "alluvium/core/error.h"
#include "codec_base.h"
#include "kv/budget.h"
#include "kv/channels.h"
#include "kv/chunk_attention.h"
#include "kv/compensation.h"
#include "kv/merge.h"
#include "kv/observer.h"
#include "kv/settings.h"
#include "kv/storage.h"
#include "prefix_layout.h"

namespace alluvium::memory_bank {
namespace {

/// What memories are decoded to.
at::ScalarType decoded_type(const CodecContext& context, const KvSettings& settings) {
  const at::ScalarType compute =
      context.decoder != nullptr ? context.decoder->policy().dtype : at::kFloat;
  switch (settings.key_bits) {
    case 32:
      return at::kFloat;
    case 16:
      // bfloat16 has no more digits to give; float16 keeps three more of a float32.
      return compute == at::kBFloat16 ? at::kBFloat16 : at::kHalf;
    default:
      return compute;
  }
}

KvSettings settings_of(const CodecContext& context) {
  const KvSettings settings = resolve_settings(context.options, context.basis != nullptr);
  ALLUVIUM_CHECK(!settings.transformed() || context.basis != nullptr,
                 "codec.quantiser = transform needs a basis (codec.basis)");
  return settings;
}

std::string describe(const CodecContext& context) {
  const KvSettings settings = settings_of(context);
  return fmt::format("{} {}{}", at::toString(decoded_type(context, settings)), settings.describe(),
                     settings.transformed() ? " basis=" + to_hex(context.basis->digest) : "");
}

/// Reads a chunk once and keeps pre-RoPE keys and values: all of them as they are, or the rows an
/// observer finds, quantised.
///
/// Source : the stages are those of kv/: observer, budget, merge, compensation, channels,
///          quantise, residual, layer_section, entropy; or transform in place of the last four.
class StagedKvCodec final : public CodecBase, public KvStages {
 public:
  explicit StagedKvCodec(const CodecContext& context)
      : CodecBase(context, "kv", describe(context)),
        settings_(settings_of(context)),
        word_(settings_word(context.options, context.basis != nullptr)),
        basis_(context.basis),
        type_(decoded_type(context, settings_)),
        scheme_(parse_position_scheme(context.options.positions)) {
    if (settings_.evicts()) {
      observer_ = make_observer(
          settings_.observer, {.decoder = decoder(), .tokenizer = tokenizer(), .prefix = prefix()});
    }
    if (merges_rotated(settings_.merge)) {
      rope_.emplace(rope_of(decoder()));
    }
  }

  const Codec& codec() const override { return *this; }
  const std::string& observer() const override { return settings_.observer; }
  bool reads_queries() const override { return settings_.prunes_channels(); }
  const char* name() const override { return "kv"; }
  bool stores_tensors() const override { return true; }

  std::vector<Memory> compress(std::span<const Chunk> chunks) const override {
    std::vector<ObservedReading> readings = observe(chunks);
    std::vector<Memory> memories;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      memories.push_back(keep(chunks[i], readings[i]));
      readings[i] = {};
    }
    return memories;
  }

  std::vector<ObservedReading> observe(std::span<const Chunk> chunks) const override {
    std::vector<backbone::KvCache> caches;
    const std::vector<backbone::ReadResult> reads = read(chunks, caches);
    std::vector<ObservedReading> readings;
    std::vector<ObservedChunk> observed;
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      readings.push_back({reads[i].keys, reads[i].values, {}, {}});
      if (reads_queries()) {
        readings.back().query_energy =
            query_energy(reads[i].queries, decoder().geometry().kv_heads);
      }
      if (is_observed(chunks[i])) {
        observed.push_back({chunks[i].tokens, &reads[i], &caches[i]});
        owners.push_back(i);
      }
    }
    if (!observed.empty()) {
      std::vector<RowScores> scores = observer_->score(observed);
      for (std::size_t i = 0; i < owners.size(); ++i) {
        readings[owners[i]].rows = std::move(scores[i]);
      }
    }
    return readings;
  }

  Memory keep(const Chunk& chunk, const ObservedReading& reading) const override {
    Memory memory = remember_tokens(chunk);
    memory.origin.preset = word_;
    const KeptRows kept = choose(chunk, reading.rows);
    if (!settings_.quantised() && !settings_.transformed() && kept.everything() &&
        !settings_.prunes_channels() && settings_.entropy == EntropyCoder::none) {
      memory.keys = as_it_is(reading.keys);
      memory.values = as_it_is(reading.values);
      return memory;
    }
    const MergedRows rows =
        merge_rows(settings_.merge, reading.keys, reading.values, kept,
                   {.scores = reading.rows.scores, .rope = rope_ ? &*rope_ : nullptr});
    const auto storable = [&](const at::Tensor& captured) {
      // store_kv() checks the former.
      return settings_.quantised() || settings_.transformed() ? captured : as_it_is(captured);
    };
    auto stored = std::make_shared<const StoredKv>(store_kv(
        storable(rows.keys), storable(rows.values), kept, type_, settings_,
        settings_.merge == "compensation" ? compensate(reading.keys, reading.values, kept, *rope_)
                                          : CompensationRows{},
        channels_of(rows.keys, reading, kept), basis_));
    // What attention will see is what the record gives.
    load_kv(*stored, layers_of(*stored), memory, basis_);
    memory.stored = std::move(stored);
    return memory;
  }

  backbone::KvPrefix to_prefix(std::span<const std::shared_ptr<const Memory>> memories,
                               int64_t room, std::optional<PositionScheme> asked) const override {
    const PositionScheme scheme = asked.value_or(scheme_);
    std::vector<int64_t> lengths;
    for (const auto& memory : memories) {
      ALLUVIUM_CHECK(memory->fingerprint == fingerprint(),
                     "a memory made under {} is not attended to by a model with {}",
                     to_hex(memory->fingerprint), to_hex(fingerprint()));
      ALLUVIUM_CHECK(memory->keys.defined() &&
                         (!memory->kept.everything() || memory->keys.size(2) == memory->length()),
                     "a memory of {} tokens lacks their keys", memory->length());
      lengths.push_back(memory->length());
    }
    const int64_t next = next_position(scheme, prefix_length(), lengths);
    check_room(decoder().geometry(), next, room);
    return join_prefix(prefix(), place(memories, scheme), memories.size(), next, scheme, options());
  }

 private:
  bool is_observed(const Chunk& chunk) const {
    return observer_ != nullptr &&
           static_cast<int64_t>(chunk.tokens.size()) >= settings_.whole_below;
  }

  /// Reads every chunk behind the shared prefix, all in one batch, into caches with room for the
  /// observer.
  std::vector<backbone::ReadResult> read(std::span<const Chunk> chunks,
                                         std::vector<backbone::KvCache>& caches) const {
    caches.reserve(chunks.size());  // requests point into it
    std::vector<backbone::ReadRequest> requests;
    for (const Chunk& chunk : chunks) {
      ALLUVIUM_CHECK(!chunk.tokens.empty(), "a chunk must have at least one token");
      const auto n = static_cast<int64_t>(chunk.tokens.size());
      caches.push_back(start_after_prefix(n + (is_observed(chunk) ? observer_->room(n) : 0)));
      backbone::ReadRequest& request = requests.emplace_back();
      request.cache = &caches.back();
      request.tokens = chunk.tokens;
      request.capture = true;
      request.queries = reads_queries() || (is_observed(chunk) && observer_->needs_queries());
    }
    return requests.empty() ? std::vector<backbone::ReadResult>{} : decoder().read(requests);
  }

  /// Empty: all.
  std::vector<HeadChannels> channels_of(const at::Tensor& keys, const ObservedReading& reading,
                                        const KeptRows& kept) const {
    if (!settings_.prunes_channels()) {
      return {};
    }
    ALLUVIUM_CHECK(reading.query_energy.defined(),
                   "codec.key_channels is {}, but the chunk was read without its queries",
                   settings_.key_channels);
    return choose_channels(keys, reading.query_energy, kept, settings_.key_channels);
  }

  KeptRows choose(const Chunk& chunk, const RowScores& rows) const {
    const auto n = static_cast<int64_t>(chunk.tokens.size());
    if (!settings_.evicts() || !rows.scores.defined() || n < settings_.whole_below) {
      return {};
    }
    std::vector<uint8_t> mask(chunk.tokens.size(), 0);
    std::fill_n(mask.begin(), std::min(n, settings_.sink_rows), uint8_t{1});
    const int64_t tail = std::min(
        rows.protected_tail, static_cast<int64_t>(settings_.keep * static_cast<double>(n) / 2));
    std::fill(mask.end() - tail, mask.end(), uint8_t{1});
    return choose_rows(rows.scores, {.budget = settings_.budget,
                                     .keep = settings_.keep,
                                     .floor_rows = settings_.floor_rows,
                                     .keep_mask = std::move(mask)});
  }

  std::vector<backbone::KvSegment> place(std::span<const std::shared_ptr<const Memory>> memories,
                                         PositionScheme scheme) const {
    std::vector<backbone::KvSegment> segments;
    int64_t first = prefix_length();
    // The best comes first from the caller and stands last in a sequence, next to the question.
    for (auto memory = memories.rbegin(); memory != memories.rend(); ++memory) {
      segments.push_back(place_rows(**memory, first));
      if (!(*memory)->compensation.counts.empty()) {
        segments.push_back(place_compensation(**memory, first));
      }
      if (scheme == PositionScheme::sequential) {
        first += (*memory)->length();
      }
    }
    return segments;
  }

  /// A tensor of its own on the CPU. Throws NumericError when a value is not finite: such a memory
  /// would poison every answer.
  at::Tensor as_it_is(const at::Tensor& captured) const {
    const at::Tensor stored =
        captured.to(at::TensorOptions().dtype(type_).device(at::kCPU)).contiguous();
    if (!at::isfinite(stored).all().item<bool>()) {
      throw NumericError(
          fmt::format("keys or values of a chunk are not finite in {}", at::toString(type_)));
    }
    return stored;
  }

  const KvSettings settings_;
  const std::string word_;
  const KvBasis* const basis_;  // null: none
  const at::ScalarType type_;
  const PositionScheme scheme_;
  std::unique_ptr<Observer> observer_;
  std::optional<backbone::Rope> rope_;  // where evicted rows merge by their rotated keys
};

}  // namespace

std::unique_ptr<Codec> make_kv_codec(const CodecContext& context) {
  return std::make_unique<StagedKvCodec>(context);
}

std::unique_ptr<KvStages> make_kv_stages(const CodecContext& context) {
  return std::make_unique<StagedKvCodec>(context);
}

}  // namespace alluvium::memory_bank
