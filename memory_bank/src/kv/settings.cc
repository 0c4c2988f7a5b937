#include "kv/settings.h"

#include <algorithm>
#include <array>

#include "alluvium/core/error.h"
#include "kv/budget.h"
#include "kv/entropy.h"
#include "kv/observer.h"

namespace alluvium::memory_bank {
namespace {

/// Of a preset where there is a basis.
struct Steps {
  double keep = 0;  // 0: the preset has none
  double key = 0;
  double value = 0;
  const char* merge = "none";
};

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
  Steps steps = {};
};

// Shares and bits were chosen on SQuAD train, under each preset's bytes (docs/ARCHITECTURE.md).
constexpr std::array kPresets = {
    Preset{"lossless", 1.0, 0, 0},
    Preset{"safe", 1.0, 8, 8, 8, 32, 16, "none", 1.0, "none", {1.0, 0.01, 0.08}},
    Preset{"default", 0.555, 8, 4, 8, 32, 16, "none", 1.0, "none", {1.0, 0.02, 0.32}},
    Preset{"compact", 0.385, 4, 4, 8, 16, 8, "none", 1.0, "none", {0.58, 0.045, 0.3}},
    Preset{"tiny", 0.21, 4, 3, 4, 32, 8, "compensation", 1.0, "rans", {0.35, 0.08, 0.55}},
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

/// Whether an option asks for what only ranges have.
bool names_ranges(const CodecOptions& options) {
  return options.key_bits != 0 || options.value_bits != 0 || options.key_channels != 0 ||
         options.boundary_bits != 0 || options.key_group != 0 || options.scale_bits != 0 ||
         options.residual_rank != 0 || options.tail_bits != 0 || options.entropy != "preset";
}

/// A step of transform: the option's, else the preset's.
double step_of(const char* key, double asked, double usual) {
  ALLUVIUM_CHECK(asked == 0 || (asked >= 0.01 && asked <= 10),
                 "codec.{} must lie in [0.01, 10], or be 0 for the preset's, got {}", key, asked);
  ALLUVIUM_CHECK(asked > 0 || usual > 0,
                 "codec.{} must be set: the preset has none for quantiser transform", key);
  return asked > 0 ? asked : usual;
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
  static const std::vector<std::string> names = {"minmax", "cachegen", "transform"};
  return names;
}

std::string settings_word(const CodecOptions& options, bool has_basis) {
  CodecOptions plain;
  plain.preset = options.preset;
  return resolve_settings(options, has_basis).describe() ==
                 resolve_settings(plain, has_basis).describe()
             ? options.preset
             : "custom";
}

KvSettings resolve_settings(const CodecOptions& options, bool has_basis) {
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

  check_word("quantiser", options.quantiser == "preset" ? "minmax" : options.quantiser,
             quantiser_names());
  const bool transforms =
      options.quantiser == "transform" || (options.quantiser == "preset" && has_basis &&
                                           preset->steps.keep > 0 && !names_ranges(options));
  ALLUVIUM_CHECK(!transforms || !names_ranges(options),
                 "codec.quantiser = transform takes no bits, groups, channels, residual, tail or "
                 "coder: leave those keys at 0 and codec.entropy at preset");
  ALLUVIUM_CHECK(transforms || (options.key_step == 0 && options.value_step == 0),
                 "codec.key_step and codec.value_step are of codec.quantiser = transform, which {}",
                 has_basis ? "is not asked for" : "needs a basis (codec.basis)");

  KvSettings settings;
  const double usual_keep =
      transforms && preset->steps.keep > 0 ? preset->steps.keep : preset->keep;
  settings.keep = options.keep > 0 ? options.keep : usual_keep;
  if (transforms) {
    settings.key_step = step_of("key_step", options.key_step, preset->steps.key);
    settings.value_step = step_of("value_step", options.value_step, preset->steps.value);
    settings.quantiser = Quantiser::transform;
  } else {
    settings.key_bits = options.key_bits > 0 ? options.key_bits : preset->key_bits;
    settings.value_bits = options.value_bits > 0 ? options.value_bits : preset->value_bits;
  }
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
  const std::string coder = options.entropy == "preset" ? preset->entropy : options.entropy;
  settings.entropy = transforms ? EntropyCoder::none : parse_entropy(coder);
  if (settings.quantised() && options.quantiser == "cachegen") {
    settings.quantiser = Quantiser::cachegen;
  }
  ALLUVIUM_CHECK(options.tail_bits == 0 || (options.tail_bits >= 2 && options.tail_bits <= 4),
                 "codec.tail_bits must be 2, 3 or 4, or 0 to lose what is not kept, got {}",
                 options.tail_bits);
  const std::string usual_merge =
      transforms && preset->steps.keep > 0 ? preset->steps.merge : preset->merge;
  const std::string merge = options.merge == "preset" ? usual_merge : options.merge;
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
  if (transformed()) {
    words += fmt::format(" key_step={:.6g} value_step={:.6g}", key_step, value_step);
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
