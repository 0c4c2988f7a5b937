#include "byte_level_bpe.h"

#include <array>
#include <iostream>
#include <map>
#include <thread>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/core/utf8.h"
#include "pair_merges.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"
#include "tokenizer_sample.h"
#include "word_splitter.h"

namespace alluvium::tests {
namespace {

using backbone::ByteLevelBpe;
using backbone::BytePairModel;
using backbone::SpecialTokens;
using backbone::SplitRule;
using backbone::TokenId;
using Ids = std::vector<TokenId>;
using Words = std::vector<std::string>;

Words words_of(SplitRule rule, std::string_view text) {
  backbone::WordSplitter splitter(rule, text);
  Words words;
  for (std::string_view word = splitter.next(); !word.empty(); word = splitter.next()) {
    words.emplace_back(word);
  }
  return words;
}

// The decoder's tokenizer; null, with a line that says so, where the model is not installed.
std::unique_ptr<backbone::Tokenizer> default_tokenizer() {
  const std::optional<std::string> path = default_decoder_path();
  if (!path) {
    std::cout << "skipped: the default decoder is not installed\n";
    return nullptr;
  }
  return backbone::load_tokenizer(*backbone::open_checkpoint(*path), *path);
}

// Vocabulary a b c ab bc abc with the merges (b c), (a b), (a bc); "<s>" special, "<u>" an added word.
BytePairModel small_model() {
  BytePairModel model;
  model.pieces = {"a", "b", "c", "ab", "bc", "abc", "<s>", "<u>", "Ġ"};
  model.merges = {{"b", "c"}, {"a", "b"}, {"a", "bc"}};
  model.added = {{.content = "<s>", .id = 6}, {.content = "<u>", .id = 7, .special = false}};
  return model;
}

// The definition: as long as any pair has a rule, merge the leftmost pair of the lowest rank.
void merge_by_definition(const std::vector<std::array<TokenId, 3>>& rules, Ids& symbols) {
  for (;;) {
    std::size_t best_rule = rules.size();
    std::size_t best_at = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (std::size_t rank = 0; rank < best_rule; ++rank) {
        if (rules[rank][0] == symbols[i] && rules[rank][1] == symbols[i + 1]) {
          best_rule = rank;
          best_at = i;
        }
      }
    }
    if (best_rule == rules.size()) {
      return;
    }
    symbols[best_at] = rules[best_rule][2];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

std::string random_bytes(Random& random, std::size_t size) {
  std::string bytes;
  while (bytes.size() < size) {
    // Mostly ASCII and lead bytes, so that broken and whole sequences both occur.
    bytes += static_cast<char>(random.below(3) == 0 ? random.below(256) : 32 + random.below(90));
  }
  return bytes;
}

}  // namespace

TEST_CASE("words: gpt2 keeps a space with the word behind it and cuts contractions",
          "[backbone][tokenizer]") {
  CHECK(words_of(SplitRule::gpt2, "I'm here, 12 times") ==
        Words{"I", "'m", " here", ",", " 12", " times"});
  CHECK(words_of(SplitRule::gpt2, "a   b  ") == Words{"a", "  ", " b", "  "});
  CHECK(words_of(SplitRule::gpt2, "a\n\n b") == Words{"a", "\n\n", " b"});
  CHECK(words_of(SplitRule::gpt2, "a \tb") == Words{"a", " ", "\t", "b"});
  CHECK(words_of(SplitRule::gpt2, "").empty());
}

TEST_CASE("words: smollm's digits stand alone and end the lookahead", "[backbone][tokenizer]") {
  CHECK(words_of(SplitRule::smollm, "in 1984") == Words{"in", " ", "1", "9", "8", "4"});
  CHECK(words_of(SplitRule::smollm, "x  2y") == Words{"x", "  ", "2", "y"});
  CHECK(words_of(SplitRule::smollm, "٣½") == Words{"٣", "½"});
}

TEST_CASE("words: llama3 takes three digits, one leading mark and line ends",
          "[backbone][tokenizer]") {
  CHECK(words_of(SplitRule::llama3, "12345") == Words{"123", "45"});
  CHECK(words_of(SplitRule::llama3, "\tword (see)!\n\n  x") ==
        Words{"\tword", " (", "see", ")!\n\n", " ", " x"});
  CHECK(words_of(SplitRule::llama3, "a \n \n  b") == Words{"a", " \n \n", " ", " b"});
  CHECK(words_of(SplitRule::llama3, "WE'LL") == Words{"WE", "'LL"});
  CHECK(words_of(SplitRule::qwen2, "12") == Words{"1", "2"});
}

TEST_CASE("words: all words together are the text, whatever the bytes",
          "[backbone][tokenizer][property]") {
  const unsigned seed = GENERATE(range(0U, 20U));
  const auto rule =
      GENERATE(SplitRule::gpt2, SplitRule::smollm, SplitRule::llama3, SplitRule::qwen2);
  CAPTURE(seed, to_string(rule));
  Random random(seed);
  const std::string text = random_bytes(random, random.below(300));
  std::string joined;
  for (const std::string& word : words_of(rule, text)) {
    joined += word;
  }
  CHECK(joined == text);
}

TEST_CASE("merges: lowest rank first, leftmost of equals", "[backbone][tokenizer]") {
  const ByteLevelBpe bpe(small_model());
  // b c merges before a b, so "abc" is a + bc, then (a bc); "aab" has only (a b); "ababc" is ab + abc.
  CHECK(bpe.encode("abc", SpecialTokens::plain_text) == Ids{5});
  CHECK(bpe.encode("aab", SpecialTokens::plain_text) == Ids{0, 3});
  CHECK(bpe.encode("ababc", SpecialTokens::plain_text) == Ids{3, 5});
}

TEST_CASE("merges: short and long words equal the definition", "[backbone][tokenizer][property]") {
  const unsigned seed = GENERATE(range(0U, 40U));
  CAPTURE(seed);
  Random random(seed);
  // Rules over a growing alphabet: each joins two earlier symbols into a new one.
  std::vector<std::array<TokenId, 3>> rules;
  backbone::PairMerges merges;
  std::map<std::pair<TokenId, TokenId>, TokenId> known;
  for (TokenId next = 3; next < 20; ++next) {
    const auto left = static_cast<TokenId>(random.below(next));
    const auto right = static_cast<TokenId>(random.below(next));
    if (known.emplace(std::pair(left, right), next).second) {
      rules.push_back({left, right, next});
      merges.add(left, right, next);
    }
  }
  Ids symbols(random.below(seed % 2 == 0 ? 24 : 200));
  for (TokenId& symbol : symbols) {
    symbol = static_cast<TokenId>(random.below(3));
  }
  Ids expected = symbols;
  merge_by_definition(rules, expected);
  merges.apply(symbols);
  CHECK(symbols == expected);
}

TEST_CASE("bpe: special tokens are text unless asked for, other added tokens always count",
          "[backbone][tokenizer]") {
  const ByteLevelBpe bpe(small_model());
  // "<", "s", "u" and ">" have no token of their own and are left out.
  CHECK(bpe.encode("a<s>b", SpecialTokens::plain_text) == Ids{0, 1});
  CHECK(bpe.encode("a<s>b", SpecialTokens::recognise) == Ids{0, 6, 1});
  CHECK(bpe.encode("a<u>b", SpecialTokens::plain_text) == Ids{0, 7, 1});
  CHECK(bpe.decode(Ids{0, 6, 7, 8, 5}) == "a<u> abc");
}

TEST_CASE("bpe: added tokens may take the white space around them", "[backbone][tokenizer]") {
  BytePairModel model = small_model();
  model.added[0].takes_left = true;
  model.added[0].takes_right = true;
  const ByteLevelBpe bpe(model);
  CHECK(bpe.encode("a  <s> \tb", SpecialTokens::recognise) == Ids{0, 6, 1});
  CHECK(bpe.encode(" <s>", SpecialTokens::recognise) == Ids{6});
}

TEST_CASE("bpe: with ignore_merges a word in the vocabulary is one token",
          "[backbone][tokenizer]") {
  BytePairModel model = small_model();
  model.merges = {{"b", "c"}};
  CHECK(ByteLevelBpe(model).encode("abc", SpecialTokens::plain_text) == Ids{0, 4});
  model.ignore_merges = true;
  CHECK(ByteLevelBpe(model).encode("abc", SpecialTokens::plain_text) == Ids{5});
}

TEST_CASE("bpe: a merge outside the vocabulary is damage", "[backbone][tokenizer]") {
  BytePairModel model = small_model();
  model.merges.emplace_back("c", "c");
  CHECK_THROWS_AS(ByteLevelBpe(model), DataCorruption);
}

TEST_CASE("bpe: ids outside the vocabulary are refused", "[backbone][tokenizer]") {
  const ByteLevelBpe bpe(small_model());
  CHECK_THROWS_AS(bpe.decode(Ids{-1}), InvalidArgument);
  CHECK_THROWS_AS(bpe.decode(Ids{9}), InvalidArgument);
  CHECK(bpe.vocabulary_size() == 9);
  CHECK(bpe.decode(Ids{}).empty());
}

TEST_CASE("bpe: tokens are found by their spelling", "[backbone][tokenizer]") {
  const ByteLevelBpe bpe(small_model());
  CHECK(bpe.find_token("Ġ") == 8);
  CHECK(bpe.find_token("<s>") == 6);
  CHECK(bpe.find_token("abc") == 5);
  CHECK(bpe.find_token("cb") == std::nullopt);
  CHECK(bpe.find_token(" ") == std::nullopt);
}

TEST_CASE("bpe: the digest names vocabulary, merges and rules", "[backbone][tokenizer]") {
  const Digest digest = ByteLevelBpe(small_model()).digest();
  CHECK(ByteLevelBpe(small_model()).digest() == digest);
  BytePairModel other = small_model();
  other.split = SplitRule::smollm;
  CHECK(ByteLevelBpe(other).digest() != digest);
  other = small_model();
  other.merges.pop_back();
  CHECK(ByteLevelBpe(other).digest() != digest);
  other = small_model();
  other.pieces.emplace_back("d");
  CHECK(ByteLevelBpe(other).digest() != digest);
}

TEST_CASE("bpe: a GGUF file and a tokenizer.json of one tokenizer agree", "[backbone][tokenizer]") {
  const TemporaryDirectory directory;
  const std::string file = write_tiny_llama_gguf(directory.path(), 1);
  const std::string folder = write_tiny_llama_huggingface(directory.path(), 1);
  const auto from_gguf = backbone::load_tokenizer(*backbone::open_checkpoint(file), file);
  const auto from_json = backbone::load_tokenizer(*backbone::open_checkpoint(folder), folder);
  CHECK(from_gguf->vocabulary_size() == TinyLlama::kVocabulary);
  CHECK(from_gguf->digest() == from_json->digest());
  const std::string text = "<|im_start|>the thing and\n    the rest of it<|im_end|>";
  for (const SpecialTokens special : {SpecialTokens::plain_text, SpecialTokens::recognise}) {
    CHECK(from_gguf->encode(text, special) == from_json->encode(text, special));
  }
  CHECK(from_gguf->encode(text, SpecialTokens::recognise).front() == 1);
  CHECK(from_gguf->decode(from_gguf->encode(text)) == text);
}

TEST_CASE("bpe: ids of the stored sample are the reference's", "[backbone][tokenizer][oracle]") {
  if (const auto tokenizer = default_tokenizer()) {
    require_reference_ids(*tokenizer, "smollm");
  }
}

TEST_CASE("bpe: decoding gives the text back", "[backbone][tokenizer][property]") {
  const auto tokenizer = default_tokenizer();
  if (!tokenizer) {
    return;
  }
  for (const TokenizerSample& row : read_tokenizer_sample("smollm")) {
    // The vocabulary spells 235 of the 256 bytes; texts with others come back without them.
    const std::string back = tokenizer->decode(tokenizer->encode(row.text));
    CAPTURE(row.text);
    REQUIRE(back.size() <= row.text.size());
    REQUIRE(tokenizer->encode(back) == tokenizer->encode(row.text));
  }
  const std::string plain = "Grüße, 中文 😀!\r\n\tint x = 10;  // twelve\n\n";
  CHECK(tokenizer->decode(tokenizer->encode(plain)) == plain);
}

TEST_CASE("bpe: malformed UTF-8 is encoded byte by byte and never fails",
          "[backbone][tokenizer][property]") {
  const auto tokenizer = default_tokenizer();
  if (!tokenizer) {
    return;
  }
  // A lone continuation byte, a torn sequence, an overlong form, a surrogate: each byte has a token of its own.
  CHECK(tokenizer->decode(tokenizer->encode("a\x80"
                                            "b\xe4\xb8")) ==
        "a\x80"
        "b\xe4\xb8");
  Random random(5);
  for (int i = 0; i < 200; ++i) {
    const std::string bytes = random_bytes(random, random.below(200));
    const std::string back = tokenizer->decode(tokenizer->encode(bytes, SpecialTokens::recognise));
    REQUIRE(back.size() <= bytes.size());
  }
}

TEST_CASE("bpe: many threads may encode at once", "[backbone][tokenizer]") {
  const ByteLevelBpe bpe(small_model());
  const Ids expected = bpe.encode("abc cab <u>", SpecialTokens::plain_text);
  std::array<int, 4> wrong{};
  {
    std::vector<std::jthread> threads;
    for (int& count : wrong) {
      threads.emplace_back([&] {
        for (int i = 0; i < 2000; ++i) {
          count += bpe.encode("abc cab <u>", SpecialTokens::plain_text) == expected ? 0 : 1;
        }
      });
    }
  }
  CHECK(wrong == std::array<int, 4>{});
}

}  // namespace alluvium::tests
