#include <charconv>
#include <filesystem>

#include "alluvium/core/error.h"
#include "alluvium/experiments/frontier_bench.h"

namespace alluvium::experiments {
namespace {

using Kind = FrontierSetting::Kind;

FrontierSetting preset(const std::string& name) {
  FrontierSetting setting;
  setting.name = name;
  setting.options.preset = name;
  return setting;
}

FrontierSetting cut_text(double keep) {
  FrontierSetting setting;
  setting.name = fmt::format("text cut to {}", keep);
  setting.kind = Kind::cut_text;
  setting.keep = keep;
  return setting;
}

FrontierSetting kv(double keep, int64_t bits, const std::string& observer = "repeat",
                   const std::string& budget = "global", int64_t value_bits = 0) {
  FrontierSetting setting;
  setting.options.keep = keep;
  setting.options.observer = observer;
  setting.options.budget = budget;
  setting.options.key_bits = bits;
  setting.options.value_bits = value_bits == 0 ? bits : value_bits;
  const std::string form =
      bits == 0 ? "16 bit" : fmt::format("K{}V{}", bits, setting.options.value_bits);
  setting.name = keep == 1 ? form : fmt::format("{} {} {} {}", observer, budget, keep, form);
  return setting;
}

FrontierSetting merging(FrontierSetting setting, const std::string& merge) {
  setting.options.merge = merge;
  setting.name += ", merge " + merge;
  return setting;
}

FrontierSetting pruning(FrontierSetting setting, double key_channels) {
  setting.options.key_channels = key_channels;
  setting.name += fmt::format(", {} of the key channels", key_channels);
  return setting;
}

FrontierSetting with_residual(FrontierSetting setting, int64_t rank) {
  setting.options.residual_rank = rank;
  setting.name += fmt::format(", residual of rank {}", rank);
  return setting;
}

FrontierSetting with_tail(FrontierSetting setting, int64_t bits) {
  setting.options.tail_bits = bits;
  setting.name += fmt::format(", the rest in {} bits", bits);
  return setting;
}

FrontierSetting of_cachegen(FrontierSetting setting) {
  setting.options.quantiser = "cachegen";
  setting.name += ", cachegen";
  return setting;
}

/// As a preset is where there is no basis.
FrontierSetting with_ranges(FrontierSetting setting) {
  setting.options.quantiser = "minmax";
  setting.name += ", ranges";
  return setting;
}

FrontierSetting coding(FrontierSetting setting, const std::string& entropy) {
  setting.options.entropy = entropy;
  setting.name += ", " + entropy;
  return setting;
}

double number(const std::string& key, const std::string& value) {
  double parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  ALLUVIUM_CHECK(error == std::errc() && end == value.data() + value.size(),
                 "setting: {} takes a number, got '{}'", key, value);
  return parsed;
}

}  // namespace

std::vector<FrontierSetting> frontier_grid(const std::string& grid) {
  ALLUVIUM_CHECK(grid == "presets" || grid == "small" || grid == "full",
                 "the grid must be presets, small or full, got '{}'", grid);
  std::vector<FrontierSetting> settings;
  settings.push_back({.name = "closed book", .kind = Kind::closed_book, .options = {}});
  settings.push_back({.name = "text", .kind = Kind::text, .options = {}});
  for (const std::string& name : memory_bank::kv_presets()) {
    settings.push_back(preset(name));
  }
  if (grid == "presets") {
    return settings;
  }
  for (const double keep : {0.5, 0.3, 0.2}) {
    settings.push_back(cut_text(keep));
    for (const char* observer : {"repeat", "tail", "random"}) {
      settings.push_back(kv(keep, 0, observer));
    }
    settings.push_back(kv(keep, 0, "repeat", "uniform"));
  }
  if (grid == "small") {
    return settings;
  }
  for (const double keep : {0.5, 0.3, 0.2}) {
    for (const char* observer : {"expected_attention", "h2o", "zipcache", "keydiff"}) {
      settings.push_back(kv(keep, 0, observer, "uniform"));
    }
    settings.push_back(kv(keep, 0, "repeat", "curves"));
    settings.push_back(kv(keep, 0, "repeat", "pyramid"));
    settings.push_back(kv(keep, 0, "repeat", "d2o"));
    settings.push_back(kv(keep, 0, "h2o", "d2o"));  // as in its source
    settings.push_back(kv(keep, 0, "random", "uniform"));
    for (const char* merge : {"values", "neighbours", "d2o", "ems", "compensation"}) {
      settings.push_back(merging(kv(keep, 0), merge));
    }
    settings.push_back(pruning(kv(keep, 0), 0.6));  // as in its source
    settings.push_back(kv(keep, 4));
  }
  settings.push_back(pruning(kv(1, 0), 0.6));
  settings.push_back(kv(0.7, 0));
  settings.push_back(kv(0.1, 0));
  for (const auto& [keys, values] : {std::pair{8, 4}, {4, 4}, {3, 3}, {4, 2}, {2, 2}}) {
    settings.push_back(kv(1, keys, "repeat", "global", values));
  }
  settings.push_back(with_tail(kv(0.3, 8, "repeat", "global", 4), 2));  // MiKV
  settings.push_back(with_tail(kv(0.2, 4), 2));
  settings.push_back(with_tail(kv(0.6, 4, "zipcache", "uniform"), 2));  // as in its source
  settings.push_back(of_cachegen(kv(1, 8)));
  settings.push_back(of_cachegen(kv(1, 4)));
  settings.push_back(coding(of_cachegen(kv(1, 4)), "rans"));
  for (const char* name : {"safe", "default", "compact", "tiny"}) {
    settings.push_back(with_ranges(preset(name)));
  }
  for (const int64_t rank : {2, 4}) {
    settings.push_back(with_residual(kv(1, 4), rank));
    settings.push_back(with_residual(kv(1, 2), rank));
  }
  settings.push_back(with_residual(preset("tiny"), 4));
  // The same answers as without; what differs is bytes and time.
  for (const char* name : {"lossless", "default", "tiny"}) {
    for (const char* entropy : {"zstd", "rans"}) {
      settings.push_back(coding(preset(name), entropy));
    }
  }
  return settings;
}

FrontierSetting parse_frontier_setting(const std::string& text) {
  FrontierSetting setting;
  setting.name = text;
  std::size_t from = 0;
  while (from < text.size()) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    const std::string pair = text.substr(from, end - from);
    const std::size_t equals = pair.find('=');
    ALLUVIUM_CHECK(equals != std::string::npos, "a setting is key=value, got '{}'", pair);
    const std::string key = pair.substr(0, equals);
    const std::string value = pair.substr(equals + 1);
    memory_bank::CodecOptions& options = setting.options;
    if (key == "preset") {
      options.preset = value;
    } else if (key == "observer") {
      options.observer = value;
    } else if (key == "budget") {
      options.budget = value;
    } else if (key == "keep") {
      options.keep = number(key, value);
    } else if (key == "key_bits") {
      options.key_bits = static_cast<int64_t>(number(key, value));
    } else if (key == "value_bits") {
      options.value_bits = static_cast<int64_t>(number(key, value));
    } else if (key == "key_channels") {
      options.key_channels = number(key, value);
    } else if (key == "boundary_bits") {
      options.boundary_bits = static_cast<int64_t>(number(key, value));
    } else if (key == "key_group") {
      options.key_group = static_cast<int64_t>(number(key, value));
    } else if (key == "scale_bits") {
      options.scale_bits = static_cast<int64_t>(number(key, value));
    } else if (key == "merge") {
      options.merge = value;
    } else if (key == "residual_rank") {
      options.residual_rank = static_cast<int64_t>(number(key, value));
    } else if (key == "tail_bits") {
      options.tail_bits = static_cast<int64_t>(number(key, value));
    } else if (key == "quantiser") {
      options.quantiser = value;
    } else if (key == "key_step") {
      options.key_step = number(key, value);
    } else if (key == "value_step") {
      options.value_step = number(key, value);
    } else if (key == "entropy") {
      options.entropy = value;
    } else {
      throw InvalidArgument(fmt::format("setting: unknown key '{}'", key));
    }
    from = end + 1;
  }
  memory_bank::check_codec_options(setting.options);
  return setting;
}

std::vector<FrontierSetting> with_readers(const std::vector<FrontierSetting>& settings,
                                          const std::vector<std::string>& readers) {
  ALLUVIUM_CHECK(!readers.empty(), "no reader is named; 'none' is the bare decoder");
  std::vector<FrontierSetting> all;
  for (const std::string& reader : readers) {
    for (FrontierSetting setting : settings) {
      if (reader != "none") {
        // A path may end in a separator: its last part is then the one before.
        const std::filesystem::path path = std::filesystem::path(reader + "/").parent_path();
        setting.name += " + " + path.filename().string();
        setting.reader = reader;
      }
      all.push_back(std::move(setting));
    }
  }
  return all;
}

}  // namespace alluvium::experiments
