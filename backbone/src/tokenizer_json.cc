// Source : the file format of https://github.com/huggingface/tokenizers. Post-processors, truncation and padding are not read: callers add
//          what stands around a text.
#include <array>

#include "alluvium/core/error.h"
#include "byte_level_bpe.h"
#include "json_file.h"
#include "tokenizer_sources.h"
#include "wordpiece.h"

namespace alluvium::backbone {
namespace {

using Json = nlohmann::json;

// The regular expressions of Split pre-tokenizers that WordSplitter knows.
struct KnownExpression {
  std::string_view text;
  SplitRule split;
};

constexpr std::array kExpressions = {
    KnownExpression{R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                    SplitRule::gpt2},
    KnownExpression{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
                    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
                    SplitRule::llama3},
    KnownExpression{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
                    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
                    SplitRule::qwen2},
};

[[noreturn]] void refuse(std::string_view what, const Json& value) {
  throw NotSupported(fmt::format("tokenizer.json: {} {} is not supported", what, value.dump()));
}

std::string type_of(const Json& part) {
  return part.is_object() ? member_or<std::string>(part, "type", "") : "";
}

TokenId read_id(const Json& value) {
  const auto id = value.get<int64_t>();
  if (!value.is_number_integer() || id < 0 || id >= kLargestVocabulary) {
    throw DataCorruption(fmt::format("tokenizer.json: token id {} is outside 0 to {}", value.dump(),
                                     kLargestVocabulary - 1));
  }
  return static_cast<TokenId>(id);
}

std::vector<std::string> read_pieces(const Json& model) {
  std::vector<std::string> pieces;
  for (const auto& [piece, value] : model.at("vocab").get_ref<const Json::object_t&>()) {
    const auto id = static_cast<std::size_t>(read_id(value));
    pieces.resize(std::max(pieces.size(), id + 1));
    pieces[id] = piece;
  }
  return pieces;
}

std::vector<AddedToken> read_added(const Json& file) {
  std::vector<AddedToken> added;
  for (const Json& entry : member_or(file, "added_tokens", Json::array())) {
    if (member_or(entry, "single_word", false)) {
      refuse("an added token of single_word", entry);
    }
    added.push_back({.content = entry.at("content").get<std::string>(),
                     .id = read_id(entry.at("id")),
                     .special = member_or(entry, "special", false),
                     .takes_left = member_or(entry, "lstrip", false),
                     .takes_right = member_or(entry, "rstrip", false)});
  }
  return added;
}

// The steps of a pre-tokenizer, whether one or a sequence.
std::vector<Json> pre_tokenizer_steps(const Json& file) {
  const Json pre = member_or(file, "pre_tokenizer", Json());
  if (type_of(pre) == "Sequence") {
    return pre.at("pretokenizers").get<std::vector<Json>>();
  }
  return {pre};
}

SplitRule split_of_expression(const Json& step) {
  const auto expression = member_or<std::string>(step.at("pattern"), "Regex", "");
  const bool isolated = member_or<std::string>(step, "behavior", "") == "Isolated" &&
                        !member_or(step, "invert", false);
  for (const KnownExpression& known : kExpressions) {
    if (isolated && expression == known.text) {
      return known.split;
    }
  }
  refuse("pre-tokenizer", step);
}

SplitRule read_split(const Json& file) {
  const std::vector<Json> steps = pre_tokenizer_steps(file);
  const Json& last = steps.empty() ? file : steps.back();
  if (type_of(last) != "ByteLevel" || steps.size() > 2) {
    refuse("pre-tokenizer", member_or(file, "pre_tokenizer", Json()));
  }
  if (member_or(last, "add_prefix_space", false)) {
    refuse("add_prefix_space of", last);
  }
  const bool own_expression = member_or(last, "use_regex", true);
  if (steps.size() == 1 && own_expression) {
    return SplitRule::gpt2;
  }
  const Json& first = steps.front();
  if (type_of(first) == "Digits" && member_or(first, "individual_digits", false) &&
      own_expression) {
    return SplitRule::smollm;
  }
  if (type_of(first) == "Split" && !own_expression) {
    return split_of_expression(first);
  }
  refuse("pre-tokenizer", member_or(file, "pre_tokenizer", Json()));
}

// A merge is "left right" or ["left", "right"].
std::pair<std::string, std::string> read_merge(const Json& merge) {
  if (merge.is_array() && merge.size() == 2) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  const auto text = merge.get<std::string>();
  const std::size_t space = text.find(' ');
  if (space == std::string::npos) {
    throw DataCorruption(fmt::format("tokenizer.json: merge '{}' has no space", text));
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

std::unique_ptr<Tokenizer> make_byte_pairs(const Json& file) {
  const Json& rules = file.at("model");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!member_or<std::string>(rules, affix, "").empty()) {
      refuse(affix, rules.at(affix));
    }
  }
  if (member_or(rules, "byte_fallback", false) ||
      !member_or(rules, "unk_token", Json()).is_null()) {
    refuse("BPE with an unknown token or byte fallback:", member_or(rules, "unk_token", Json()));
  }
  const Json normalizer = member_or(file, "normalizer", Json());
  BytePairModel model;
  model.compose = type_of(normalizer) == "NFC";
  if (!normalizer.is_null() && !model.compose) {
    refuse("normalizer", normalizer);
  }
  model.split = read_split(file);
  model.ignore_merges = member_or(rules, "ignore_merges", false);
  model.pieces = read_pieces(rules);
  model.added = read_added(file);
  for (const Json& merge : rules.at("merges").get_ref<const Json::array_t&>()) {
    model.merges.push_back(read_merge(merge));
  }
  return std::make_unique<ByteLevelBpe>(model);
}

std::unique_ptr<Tokenizer> make_wordpiece(const Json& file) {
  const Json& rules = file.at("model");
  const Json normalizer = member_or(file, "normalizer", Json());
  const Json pre = member_or(file, "pre_tokenizer", Json());
  if (type_of(normalizer) != "BertNormalizer") {
    refuse("normalizer", normalizer);
  }
  if (type_of(pre) != "BertPreTokenizer") {
    refuse("pre-tokenizer", pre);
  }
  WordPieceModel model;
  model.rules.clean_text = member_or(normalizer, "clean_text", true);
  model.rules.split_ideographs = member_or(normalizer, "handle_chinese_chars", true);
  model.rules.lower_case = member_or(normalizer, "lowercase", true);
  model.rules.strip_accents = member_or(normalizer, "strip_accents", model.rules.lower_case);
  model.pieces = read_pieces(rules);
  model.added = read_added(file);
  model.unknown = member_or<std::string>(rules, "unk_token", model.unknown);
  model.continuation = member_or(rules, "continuing_subword_prefix", model.continuation);
  model.most_characters = member_or(rules, "max_input_chars_per_word", model.most_characters);
  return std::make_unique<WordPiece>(std::move(model));
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer_json(const std::string& path) {
  const Json file = read_json_object(path);
  return reading_json(path, [&]() -> std::unique_ptr<Tokenizer> {
    // Files of the format's first versions do not name the model.
    const auto& model = file.at("model").get_ref<const Json::object_t&>();
    const std::string guess = model.count("merges") > 0 ? "BPE" : "WordPiece";
    const auto type = member_or(file.at("model"), "type", guess);
    if (type == "BPE") {
      return make_byte_pairs(file);
    }
    if (type == "WordPiece") {
      return make_wordpiece(file);
    }
    throw NotSupported(fmt::format(
        "'{}': model '{}' is not supported; supported are BPE and WordPiece", path, type));
  });
}

std::unique_ptr<Tokenizer> load_tokenizer(const Checkpoint& checkpoint, const std::string& path) {
  return std::string_view(checkpoint.kind()) == "gguf"
             ? load_gguf_tokenizer(checkpoint)
             : load_tokenizer_json(path + "/tokenizer.json");
}

}  // namespace alluvium::backbone
