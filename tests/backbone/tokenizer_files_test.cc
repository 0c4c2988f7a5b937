#include <nlohmann/json.hpp>

#include "alluvium/backbone/tokenizer.h"
#include "damage.h"
#include "support/catch.h"
#include "support/checkpoint_writers.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::tests {
namespace {

using backbone::load_tokenizer;
using backbone::load_tokenizer_json;
using backbone::SpecialTokens;
using backbone::TokenId;
using Catch::Matchers::Contains;
using Ids = std::vector<TokenId>;
using Json = nlohmann::json;

// A GGUF file with a tokenizer alone; each test changes one thing.
struct GgufTokenizer {
  std::string model = "gpt2";
  std::string pre = "gpt-2";
  std::vector<std::string> pieces = {"<s>", "a", "b", "ab", "1"};
  std::vector<int32_t> types = {3, 1, 1, 1, 1};
  std::vector<std::string> merges = {"a b"};
};

class TokenizerFixture {
 protected:
  std::unique_ptr<backbone::Tokenizer> load(const GgufTokenizer& from) {
    const std::string path = directory_ / "tokenizer.gguf";
    write_file(path, GgufWriter()
                         .add_text("tokenizer.ggml.model", from.model)
                         .add_text("tokenizer.ggml.pre", from.pre)
                         .add_texts("tokenizer.ggml.tokens", from.pieces)
                         .add_integers("tokenizer.ggml.token_type", from.types)
                         .add_texts("tokenizer.ggml.merges", from.merges)
                         .bytes());
    return load_tokenizer(*backbone::open_gguf(path), path);
  }

  std::unique_ptr<backbone::Tokenizer> load(const Json& from) {
    const std::string path = directory_ / "tokenizer.json";
    write_file(path, from.dump());
    return load_tokenizer_json(path);
  }

  // The tiny model's tokenizer.json, to be changed.
  Json tiny_json() {
    return Json::parse(
        read_file(write_tiny_llama_huggingface(directory_.path(), 1) + "/tokenizer.json"));
  }

  TemporaryDirectory directory_;
};

Json bert_json() {
  return {{"normalizer", {{"type", "BertNormalizer"}, {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"vocab", {{"[UNK]", 0}, {"a", 1}, {"##b", 2}}}}}};
}

}  // namespace

TEST_CASE_METHOD(TokenizerFixture, "tokenizer files: GGUF pre-tokenizers are chosen by name",
                 "[backbone][tokenizer]") {
  GgufTokenizer file;
  CHECK(load(file)->encode("ab11") == Ids{3, 4, 4});
  for (const char* pre : {"default", "smollm", "llama-bpe", "qwen2"}) {
    file.pre = pre;
    CHECK(load(file)->encode("ab") == Ids{3});
  }
  file.pre = "deepseek-coder";
  CHECK_THROWS_AS(load(file), NotSupported);
  CHECK_THROWS_WITH(load(file), Contains("deepseek-coder"));
}

TEST_CASE_METHOD(TokenizerFixture, "tokenizer files: what a GGUF file gets wrong is named",
                 "[backbone][tokenizer]") {
  GgufTokenizer file;
  SECTION("another model") {
    file.model = "llama";
    CHECK_THROWS_AS(load(file), NotSupported);
    CHECK_THROWS_WITH(load(file), Contains("'llama'"));
  }
  SECTION("too few types") {
    file.types.pop_back();
    CHECK_THROWS_AS(load(file), DataCorruption);
  }
  SECTION("a merge without a space") {
    file.merges = {"ab"};
    CHECK_THROWS_AS(load(file), DataCorruption);
  }
  SECTION("a merge of strangers") {
    file.merges = {"x y"};
    CHECK_THROWS_AS(load(file), DataCorruption);
  }
  SECTION("no pieces") {
    file.pieces.clear();
    file.types.clear();
    CHECK_THROWS_AS(load(file), DataCorruption);
  }
}

TEST_CASE_METHOD(TokenizerFixture, "tokenizer files: a GGUF file without a tokenizer is refused",
                 "[backbone][tokenizer]") {
  const std::string path = directory_ / "bare.gguf";
  write_file(path, GgufWriter().add_text("general.architecture", "llama").bytes());
  CHECK_THROWS_AS(load_tokenizer(*backbone::open_gguf(path), path), DataCorruption);
  write_file(path, GgufWriter()
                       .add_text("tokenizer.ggml.model", "gpt2")
                       .add_integer("tokenizer.ggml.tokens", 1)
                       .bytes());
  CHECK_THROWS_AS(load_tokenizer(*backbone::open_gguf(path), path), DataCorruption);
}

TEST_CASE_METHOD(TokenizerFixture,
                 "tokenizer files: BERT pieces of a GGUF file get their prefix back",
                 "[backbone][tokenizer]") {
  GgufTokenizer file;
  file.model = "bert";
  file.pieces = {"[UNK]", "[CLS]", "▁un", "able", "▁!"};
  file.types = {3, 3, 1, 1, 1};
  const auto tokenizer = load(file);
  CHECK(tokenizer->encode("Unable!") == Ids{2, 3, 4});
  CHECK(tokenizer->encode("[CLS]un", SpecialTokens::recognise) == Ids{1, 2});
  CHECK(tokenizer->find_token("##able") == 3);
}

TEST_CASE_METHOD(TokenizerFixture, "tokenizer files: merges may be texts or pairs",
                 "[backbone][tokenizer]") {
  Json file = tiny_json();
  const Ids ids = load(file)->encode("the thing and the other");
  for (Json& merge : file["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const std::size_t space = text.find(' ');
    merge = {text.substr(0, space), text.substr(space + 1)};
  }
  CHECK(load(file)->encode("the thing and the other") == ids);
  file["model"].erase("type");
  CHECK(load(file)->encode("the thing and the other") == ids);
}

TEST_CASE_METHOD(TokenizerFixture,
                 "tokenizer files: what tokenizer.json asks for beyond us is named",
                 "[backbone][tokenizer]") {
  Json file = tiny_json();
  const auto [pointer, value] = GENERATE(table<const char*, const char*>({
      {"/model/type", R"("Unigram")"},
      {"/model/unk_token", R"("<unk>")"},
      {"/model/byte_fallback", "true"},
      {"/model/end_of_word_suffix", R"("</w>")"},
      {"/normalizer", R"({"type": "Lowercase"})"},
      {"/pre_tokenizer", R"({"type": "Metaspace"})"},
      {"/pre_tokenizer", "null"},
      {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": []})"},
      {"/pre_tokenizer", R"({"type": "ByteLevel", "add_prefix_space": true})"},
      {"/pre_tokenizer/pretokenizers/0",
       R"({"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated"})"},
      {"/pre_tokenizer/pretokenizers/0/individual_digits", "false"},
      {"/added_tokens/0/single_word", "true"},
  }));
  CAPTURE(pointer, value);
  file[Json::json_pointer(pointer)] = Json::parse(value);
  CHECK_THROWS_AS(load(file), NotSupported);
}

TEST_CASE_METHOD(TokenizerFixture, "tokenizer files: damaged values of tokenizer.json are refused",
                 "[backbone][tokenizer]") {
  Json file = tiny_json();
  const auto [pointer, value] = GENERATE(table<const char*, const char*>({
      {"/model", "7"},
      {"/model/vocab", "7"},
      {"/model/vocab", "[1]"},
      {"/model/vocab/a", "-1"},
      {"/model/vocab/a", "1e300"},
      {"/model/vocab/a", "4611686018427387904"},
      {"/model/vocab/a", R"("x")"},
      {"/model/merges", "{}"},
      {"/model/merges/0", R"("ab")"},
      {"/model/merges/0", R"(["a"])"},
      {"/model/merges/0", R"("a ÿ")"},
      {"/added_tokens", "3"},
      {"/added_tokens/0/id", "null"},
      {"/added_tokens/0/id", "99999999"},
      {"/added_tokens/0/content", R"("")"},
      {"/added_tokens/0/special", R"("yes")"},
  }));
  CAPTURE(pointer, value);
  file[Json::json_pointer(pointer)] = Json::parse(value);
  CHECK_THROWS_AS(load(file), DataCorruption);
}

TEST_CASE_METHOD(TokenizerFixture, "tokenizer files: WordPiece of tokenizer.json reads its rules",
                 "[backbone][tokenizer]") {
  Json file = bert_json();
  CHECK(load(file)->encode("AB ab") == Ids{1, 2, 1, 2});
  file["normalizer"]["lowercase"] = false;
  CHECK(load(file)->encode("AB ab") == Ids{0, 1, 2});
  file["model"]["max_input_chars_per_word"] = 1;
  CHECK(load(file)->encode("ab a") == Ids{0, 1});
  file["pre_tokenizer"]["type"] = "Whitespace";
  CHECK_THROWS_AS(load(file), NotSupported);
}

TEST_CASE_METHOD(TokenizerFixture, "tokenizer files: a tokenizer.json cut anywhere is damage",
                 "[backbone][tokenizer][property]") {
  const std::string whole = tiny_json().dump();
  const std::string path = directory_ / "cut.json";
  for (std::size_t part = 0; part < 50; ++part) {
    write_file(path, whole.substr(0, whole.size() * part / 50));
    CAPTURE(part);
    REQUIRE_THROWS_AS(load_tokenizer_json(path), DataCorruption);
  }
  CHECK_THROWS_AS(load_tokenizer_json(directory_ / "absent.json"), InvalidArgument);
}

TEST_CASE_METHOD(TokenizerFixture,
                 "tokenizer files: any turned bit of tokenizer.json is refused or read safely",
                 "[backbone][tokenizer][property]") {
  const std::string whole = tiny_json().dump();
  const std::string path = directory_ / "flipped.json";
  Random random(3);
  for (std::size_t byte = 0; byte < whole.size(); ++byte) {
    write_file(path, with_bit_flipped(whole, byte, static_cast<unsigned>(random.below(8))));
    CAPTURE(byte);
    try {
      load_tokenizer_json(path)->encode("the thing\n12 <|im_end|>", SpecialTokens::recognise);
    } catch (const Error& error) {
      REQUIRE(is_refusal_of_damage(error.kind()));
    }
  }
}

}  // namespace alluvium::tests
