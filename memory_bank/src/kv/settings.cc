#include "kv/settings.h"

#include <algorithm>
#include <array>

#include "alluvium/core/error.h"
#include "kv/budget.h"
#include "kv/entropy.h"
#include "kv/observer.h"

namespace alluvium::memory_bank {
namespace {

struct Preset {
  const char* name;
  double keep;
  int64_t key_bits;
  int64_t value_bits;
  int64_t boundary_bits = 8;
  int64_t key_group = 32;
  int64_t scale_bits = 16;
  const char* merge = "none";
  double key_channels = 1.0;
  const char* entropy = "none";
};

// Shares and bits were chosen on SQuAD train, under each preset's bytes (docs/ARCHITECTURE.md).
constexpr std::array kPresets = {
    Preset{"lossless", 1.0, 0, 0},
    Preset{"safe", 1.0, 8, 8},
    Preset{"default", 0.555, 8, 4},
    Preset{"compact", 0.385, 4, 4, 8, 16, 8},
    Preset{"tiny", 0.21, 4, 3, 4, 32, 8, "compensation", 1.0, "rans"},
};

void check_bits(const char* key, int64_t bits) {
  constexpr std::array<int64_t, 7> kKnown = {0, 2, 3, 4, 8, 16, 32};
  ALLUVIUM_CHECK(std::find(kKnown.begin(), kKnown.end(), bits) != kKnown.end(),
                 "codec.{} must be 0 (as the preset says), 2, 3, 4, 8, 16 or 32, got {}", key,
                 bits);
}

/// Scores that compare over layers and heads are shared out globally. Others are not: the shared prefix takes another share of attention in
/// each layer (h2o, zipcache, expected_attention, tail), keydiff compares the rows of one head, and a global choice starves whole layers.
const char* usual_budget(const std::string& observer) {
  return observer == "repeat" || observer == "random" ? "global" : "uniform";
}

void check_word(const char* key, const std::string& word, const std::vector<std::string>& known) {
  ALLUVIUM_CHECK(std::find(known.begin(), known.end(), word) != known.end(),
                 "codec.{} must be one of preset, {}, got '{}'", key, fmt::join(known, ", "), word);
}

}  // namespace

std::vector<std::string> kv_presets() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) {
    names.emplace_back(preset.name);
  }
  return names;
}

const std::vector<std::string>& merge_names() {
  static const std::vector<std::string> names = {"none", "values", "neighbours",
                                                 "d2o",  "ems",    "compensation"};
  return names;
}

const std::vector<std::string>& quantiser_names() {
  static const std::vector<std::string> names = {"minmax", "cachegen"};
  return names;
}

std::string settings_word(const CodecOptions& options) {
  CodecOptions plain;
  plain.preset = options.preset;
  return resolve_settings(options).describe() == resolve_settings(plain).describe() ? options.preset
                                                                                    : "custom";
}

KvSettings resolve_settings(const CodecOptions& options) {
  const auto preset = std::find_if(kPresets.begin(), kPresets.end(),
                                   [&](const Preset& p) { return options.preset == p.name; });
  ALLUVIUM_CHECK(preset != kPresets.end(), "codec.preset must be one of {}, got '{}'",
                 fmt::join(kv_presets(), ", "), options.preset);
  ALLUVIUM_CHECK(options.keep >= 0 && options.keep <= 1,
                 "codec.keep must lie in (0, 1], or be 0 for the preset's, got {}", options.keep);
  ALLUVIUM_CHECK(options.key_channels >= 0 && options.key_channels <= 1,
                 "codec.key_channels must lie in (0, 1], or be 0 for the preset's, got {}",
                 options.key_channels);
  check_bits("key_bits", options.key_bits);
  check_bits("value_bits", options.value_bits);

  KvSettings settings;
  settings.keep = options.keep > 0 ? options.keep : preset->keep;
  settings.key_bits = options.key_bits > 0 ? options.key_bits : preset->key_bits;
  settings.value_bits = options.value_bits > 0 ? options.value_bits : preset->value_bits;
  settings.key_channels = options.key_channels > 0 ? options.key_channels : preset->key_channels;
  const bool plain =
      settings.key_bits == settings.value_bits && (settings.key_bits == 0 || settings.key_bits > 8);
  const bool quantised = settings.key_bits > 0 && settings.key_bits <= 8 &&
                         settings.value_bits > 0 && settings.value_bits <= 8;
  ALLUVIUM_CHECK(plain || quantised,
                 "codec.key_bits and codec.value_bits must both be 8 or less, or be equal; they "
                 "come to {} and {}",
                 settings.key_bits, settings.value_bits);
  ALLUVIUM_CHECK(
      options.boundary_bits == 0 || (options.boundary_bits >= 2 && options.boundary_bits <= 8 &&
                                     (options.boundary_bits <= 4 || options.boundary_bits == 8)),
      "codec.boundary_bits must be 0 (as the preset says), 2, 3, 4 or 8, got {}",
      options.boundary_bits);
  ALLUVIUM_CHECK(options.key_group >= 0 && options.key_group <= 4096,
                 "codec.key_group must lie in [1, 4096], or be 0 for the preset's, got {}",
                 options.key_group);
  ALLUVIUM_CHECK(options.scale_bits == 0 || options.scale_bits == 8 || options.scale_bits == 16,
                 "codec.scale_bits must be 0 (as the preset says), 8 or 16, got {}",
                 options.scale_bits);
  settings.scale_bits = options.scale_bits > 0 ? options.scale_bits : preset->scale_bits;
  settings.boundary_bits =
      options.boundary_bits > 0 ? options.boundary_bits : preset->boundary_bits;
  settings.key_group = options.key_group > 0 ? options.key_group : preset->key_group;
  ALLUVIUM_CHECK(options.residual_rank >= 0 && options.residual_rank <= 256,
                 "codec.residual_rank must lie in [0, 256], got {}", options.residual_rank);
  settings.residual_rank = settings.quantised() ? options.residual_rank : 0;
  settings.entropy = parse_entropy(options.entropy == "preset" ? preset->entropy : options.entropy);
  const auto& quantisers = quantiser_names();
  const auto quantiser = std::find(quantisers.begin(), quantisers.end(), options.quantiser);
  ALLUVIUM_CHECK(quantiser != quantisers.end(), "codec.quantiser must be one of {}, got '{}'",
                 fmt::join(quantisers, ", "), options.quantiser);
  if (settings.quantised()) {
    settings.quantiser = static_cast<Quantiser>(quantiser - quantisers.begin());
  }
  ALLUVIUM_CHECK(options.tail_bits == 0 || (options.tail_bits >= 2 && options.tail_bits <= 4),
                 "codec.tail_bits must be 2, 3 or 4, or 0 to lose what is not kept, got {}",
                 options.tail_bits);
  const std::string merge = options.merge == "preset" ? preset->merge : options.merge;
  check_word("merge", merge, merge_names());
  const std::string observer = options.observer == "preset" ? "repeat" : options.observer;
  const std::string budget = options.budget == "preset" ? usual_budget(observer) : options.budget;
  check_word("observer", observer, observer_names());
  check_word("budget", budget, budget_names());
  ALLUVIUM_CHECK(
      options.tail_bits == 0 || merge == "none",
      "codec.tail_bits keeps the rows that codec.merge = {} would merge; set one of both", merge);
  ALLUVIUM_CHECK(options.tail_bits == 0 || settings.quantised() || !settings.evicts(),
                 "codec.tail_bits is {}, but codec.key_bits and codec.value_bits quantise nothing",
                 options.tail_bits);
  if (settings.evicts()) {
    settings.observer = observer;
    settings.budget = budget;
    settings.merge = merge;
    settings.tail_bits = options.tail_bits;
  }
  return settings;
}

std::string KvSettings::describe() const {
  std::string words =
      fmt::format("keep={:.6g} key_bits={} value_bits={}", keep, key_bits, value_bits);
  if (evicts()) {
    words += fmt::format(" observer={} budget={} sink={} floor={} whole_below={}", observer, budget,
                         sink_rows, floor_rows, whole_below);
  }
  if (quantised()) {
    words += fmt::format(" boundary={} group={}", boundary_layers, key_group);
    if (boundary_bits != 8) {
      words += fmt::format(" boundary_bits={}", boundary_bits);
    }
  }
  if (quantised() && scale_bits != 16) {
    words += fmt::format(" scale_bits={}", scale_bits);
  }
  if (prunes_channels()) {
    words += fmt::format(" key_channels={:.6g}", key_channels);
  }
  if (merge != "none") {
    words += fmt::format(" merge={}", merge);
  }
  if (residual_rank > 0) {
    words += fmt::format(" residual_rank={}", residual_rank);
  }
  if (tail_bits > 0) {
    words += fmt::format(" tail_bits={}", tail_bits);
  }
  if (quantiser != Quantiser::minmax) {
    words +=
        fmt::format(" quantiser={}", quantiser_names().at(static_cast<std::size_t>(quantiser)));
  }
  if (entropy != EntropyCoder::none) {
    words += fmt::format(" entropy={}", entropy_names().at(static_cast<std::size_t>(entropy)));
  }
  return words;
}

}  // namespace alluvium::memory_bank
