#include "alluvium/memory_bank/kv_family.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "alluvium/core/error.h"
#include "kv/quality_gap.h"
#include "kv/settings.h"

namespace alluvium::memory_bank {
namespace {

constexpr std::size_t kGaps = 1000;
constexpr double kFewestGaps = 20;

CodecContext with_preset(CodecContext context, const std::string& preset) {
  CodecOptions plain;
  plain.preset = preset;
  plain.positions = context.options.positions;
  plain.temperature = context.options.temperature;
  plain.lse_scale = context.options.lse_scale;
  plain.basis = context.options.basis;
  context.options = plain;
  return context;
}

}  // namespace

KvFamily::KvFamily(const CodecContext& context) : context_(context) {
  check_codec_options(context.options);
  ways_.push_back({settings_word(context.options, context.basis != nullptr), context.options.preset,
                   make_kv_stages(context)});
  for (const std::string& preset : kv_presets()) {
    if (preset != ways_.front().word) {
      ways_.push_back({preset, preset, make_kv_stages(with_preset(context, preset))});
    }
  }
  current_ = &ways_.front();
  const auto lossless = make_kv_stages(with_preset(context, "lossless"));
  const Digest& alone = lossless->codec().fingerprint();
  family_ = Sha256().update("kv family ").update(alone.data(), alone.size()).finish();
}

std::vector<Memory> KvFamily::compress(std::span<const Chunk> chunks) const {
  const Way& way = this->way();
  std::vector<ObservedReading> readings = way.stages->observe(chunks);
  std::vector<Memory> memories;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    memories.push_back(way.stages->keep(chunks[i], readings[i]));
    memories.back().origin.aim = way.stages->codec().fingerprint();
  }
  if (context_.options.quality_tokens > 0 && way.word != "lossless") {
    measure(way, chunks, readings, memories);
  }
  return memories;
}

void KvFamily::measure(const Way& way, std::span<const Chunk> chunks,
                       std::span<const ObservedReading> readings,
                       std::vector<Memory>& memories) const {
  const auto gaps_of = [&](const Way& made, std::span<const Chunk> some_chunks,
                           std::span<const ObservedReading> some_readings,
                           std::span<const Memory> some) {
    return measure_quality_gaps(*context_.decoder, *context_.prefix, made.stages->codec(),
                                some_chunks, some_readings, some, context_.options.quality_tokens);
  };
  const auto gaps = gaps_of(way, chunks, readings, memories);
  const Way* richer = richer_than(way);
  for (std::size_t i = 0; i < memories.size(); ++i) {
    MemoryOrigin& origin = memories[i].origin;
    origin.quality_gap = gaps[i];
    if (!gaps[i]) {
      continue;
    }
    const std::optional<double> bound = worst_bound();
    if (richer != nullptr && bound && *gaps[i] > *bound && *gaps[i] > 0) {
      const Digest aim = origin.aim;
      memories[i] = richer->stages->keep(chunks[i], readings[i]);
      memories[i].origin.aim = aim;
      memories[i].origin.quality_gap =
          gaps_of(*richer, chunks.subspan(i, 1), readings.subspan(i, 1), {&memories[i], 1})[0];
    }
    if (&way == &this->way()) {
      add_gap(*gaps[i]);
    }
  }
}

/// The next larger preset that can keep the same reading; null for the largest.
const KvFamily::Way* KvFamily::richer_than(const Way& way) const {
  const std::vector<std::string> presets = kv_presets();
  for (auto at = std::find(presets.begin(), presets.end(), way.preset); at != presets.begin();) {
    --at;
    for (const Way& candidate : ways_) {
      if (candidate.word == *at && candidate.stages->takes_readings_of(*way.stages)) {
        return &candidate;
      }
    }
  }
  return nullptr;
}

/// The gap past which a chunk belongs to the worst; nothing while too few were measured.
std::optional<double> KvFamily::worst_bound() const {
  const double share = context_.options.richer_share;
  const std::lock_guard lock(gaps_mutex_);
  if (share <= 0 || static_cast<double>(gaps_.size()) < std::max(1 / share, kFewestGaps)) {
    return std::nullopt;
  }
  std::vector<double> sorted(gaps_.begin(), gaps_.end());
  const auto rank =
      static_cast<std::ptrdiff_t>(std::floor((1 - share) * static_cast<double>(sorted.size())));
  std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end());
  return sorted[static_cast<std::size_t>(rank)];
}

void KvFamily::add_gap(double gap) const {
  const std::lock_guard lock(gaps_mutex_);
  gaps_.push_back(gap);
  if (gaps_.size() > kGaps) {
    gaps_.pop_front();
  }
}

void KvFamily::recall_gaps(const std::vector<double>& newest_first) {
  for (auto gap = newest_first.rbegin(); gap != newest_first.rend(); ++gap) {
    add_gap(*gap);
  }
}

backbone::KvPrefix KvFamily::to_prefix(std::span<const std::shared_ptr<const Memory>> memories,
                                       int64_t room, std::optional<PositionScheme> scheme) const {
  // Any member lays out what any other has kept; each memory goes to it under its name.
  const Codec& member = ways_.front().stages->codec();
  const std::vector<Digest> known = members();
  std::vector<std::shared_ptr<const Memory>> renamed;
  for (const auto& memory : memories) {
    ALLUVIUM_CHECK(memory->fingerprint == family_ ||
                       std::find(known.begin(), known.end(), memory->fingerprint) != known.end(),
                   "a memory made under {} is not attended to by a model with {}",
                   to_hex(memory->fingerprint), to_hex(family_));
    auto copy = std::make_shared<Memory>(*memory);
    copy->fingerprint = member.fingerprint();
    renamed.push_back(std::move(copy));
  }
  return member.to_prefix(renamed, room, scheme);
}

std::vector<Digest> KvFamily::members() const {
  std::vector<Digest> members;
  for (const Way& way : ways_) {
    members.push_back(way.stages->codec().fingerprint());
  }
  return members;
}

void KvFamily::switch_to(const std::string& preset) {
  const auto found = preset == "configured"
                         ? ways_.begin()
                         : std::find_if(ways_.begin(), ways_.end(),
                                        [&](const Way& way) { return way.word == preset; });
  ALLUVIUM_CHECK(found != ways_.end() && preset != "custom",
                 "the codec's preset must be one of {}, got '{}'", fmt::join(kv_presets(), ", "),
                 preset);
  const std::lock_guard lock(gaps_mutex_);
  if (current_.exchange(&*found) != &*found) {
    gaps_.clear();
  }
}

}  // namespace alluvium::memory_bank
