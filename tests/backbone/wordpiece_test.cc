#include "wordpiece.h"

#include <iostream>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "bert_words.h"
#include "support/catch.h"
#include "support/paths.h"
#include "tokenizer_sample.h"

namespace alluvium::tests {
namespace {

using backbone::BertRules;
using backbone::SpecialTokens;
using backbone::TokenId;
using backbone::WordPiece;
using backbone::WordPieceModel;
using Ids = std::vector<TokenId>;
using Words = std::vector<std::string>;

Words words_of(std::string_view text, const BertRules& rules = {}) {
  Words words;
  for (const backbone::BertWord& word : backbone::split_bert_words(text, rules)) {
    words.push_back(word.text);
  }
  return words;
}

WordPieceModel small_model() {
  WordPieceModel model;
  model.pieces = {"[UNK]", "[CLS]", "un", "##aff", "##able", "##a", "a", "!", "naive"};
  model.added = {{.content = "[UNK]", .id = 0}, {.content = "[CLS]", .id = 1}};
  return model;
}

Ids encode(const WordPiece& tokenizer, std::string_view text) {
  return tokenizer.encode(text, SpecialTokens::plain_text);
}

}  // namespace

TEST_CASE("bert words: lower case, no accents, punctuation alone", "[backbone][tokenizer]") {
  CHECK(words_of("Naïve CAFÉ, don't!") == Words{"naive", "cafe", ",", "don", "'", "t", "!"});
  CHECK(words_of("a\u0301 n\u0303o") == Words{"a", "no"});
  CHECK(words_of("$5+x") == Words{"$", "5", "+", "x"});
  CHECK(words_of(" \t\r\n\u00a0\u3000").empty());
}

TEST_CASE("bert words: controls vanish, ideographs stand alone", "[backbone][tokenizer]") {
  CHECK(words_of(std::string_view("a\0b\x07 c\u200bd\ufffd", 12)) == Words{"ab", "cd"});
  CHECK(words_of("ab中文c") == Words{"ab", "中", "文", "c"});
  CHECK(words_of("\xff"
                 "a\x80") == Words{"a"});
}

TEST_CASE("bert words: each rule can be switched off", "[backbone][tokenizer]") {
  CHECK(words_of("É", {.lower_case = false}) == Words{"E"});
  CHECK(words_of("É", {.strip_accents = false}) == Words{"é"});
  CHECK(words_of("\u0130", {.strip_accents = false}) == Words{"i\u0307"});
  CHECK(words_of("中文", {.split_ideographs = false}) == Words{"中文"});
  CHECK(words_of("a\x07"
                 "b",
                 {.clean_text = false}) == Words{"a\x07"
                                                 "b"});
}

TEST_CASE("bert words: decomposed marks are ordered before they are dropped",
          "[backbone][tokenizer]") {
  // Hangul falls into its letters; a spacing mark of class 224 stays behind its base.
  CHECK(words_of("각") == Words{"\u1100\u1161\u11a8"});
  CHECK(words_of("a\u302e\u0323b") == Words{"a\u302e"
                                            "b"});
}

TEST_CASE("wordpiece: the longest entry first, unknown when a part has none",
          "[backbone][tokenizer]") {
  const WordPiece tokenizer(small_model());
  CHECK(encode(tokenizer, "unaffable") == Ids{2, 3, 4});
  CHECK(encode(tokenizer, "Una!") == Ids{2, 5, 7});
  CHECK(encode(tokenizer, "unx a") == Ids{0, 6});
  CHECK(encode(tokenizer, "naïve") == Ids{8});
  CHECK(encode(tokenizer, "").empty());
}

TEST_CASE("wordpiece: a word over the limit of characters is unknown", "[backbone][tokenizer]") {
  WordPieceModel model = small_model();
  model.most_characters = 4;
  const WordPiece tokenizer(model);
  CHECK(encode(tokenizer, "aaaa") == Ids{6, 5, 5, 5});
  CHECK(encode(tokenizer, "aaaaa") == Ids{0});
}

TEST_CASE("wordpiece: special tokens are text unless asked for", "[backbone][tokenizer]") {
  const WordPiece tokenizer(small_model());
  CHECK(encode(tokenizer, "[CLS]") == Ids{0, 0, 0});
  CHECK(tokenizer.encode("[CLS]a", SpecialTokens::recognise) == Ids{1, 6});
}

TEST_CASE("wordpiece: decoding joins continuations and leaves special tokens out",
          "[backbone][tokenizer]") {
  const WordPiece tokenizer(small_model());
  CHECK(tokenizer.decode(Ids{1, 2, 3, 4, 6, 7}) == "unaffable a !");
  CHECK_THROWS_AS(tokenizer.decode(Ids{9}), InvalidArgument);
  CHECK_THROWS_AS(tokenizer.decode(Ids{-1}), InvalidArgument);
}

TEST_CASE("wordpiece: an unknown token outside the vocabulary is damage", "[backbone][tokenizer]") {
  WordPieceModel model = small_model();
  model.unknown = "<unk>";
  CHECK_THROWS_AS(WordPiece(model), DataCorruption);
}

TEST_CASE("wordpiece: ids of the stored sample are the reference's",
          "[backbone][tokenizer][oracle]") {
  const std::optional<std::string> path = default_encoder_path();
  if (!path) {
    std::cout << "skipped: the default encoder is not installed\n";
    return;
  }
  const auto tokenizer = backbone::load_tokenizer_json(*path + "/tokenizer.json");
  CHECK(tokenizer->vocabulary_size() == 30522);
  CHECK(tokenizer->find_token("[CLS]") == 101);
  CHECK(tokenizer->find_token("##ing") == 2075);
  require_reference_ids(*tokenizer, "minilm");
}

TEST_CASE("wordpiece: any bytes can be encoded", "[backbone][tokenizer][property]") {
  const unsigned seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  const WordPiece tokenizer(small_model());
  std::string bytes(random.below(300), '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(random.below(256));
  }
  for (const TokenId id : tokenizer.encode(bytes, SpecialTokens::recognise)) {
    REQUIRE((id >= 0 && id < tokenizer.vocabulary_size()));
  }
}

}  // namespace alluvium::tests
