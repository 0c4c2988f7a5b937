#include <set>

#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"
#include "alluvium/memory_bank/sentences.h"
#include "bank_fixtures.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using memory_bank::chunk_document;
using memory_bank::ChunkOptions;

std::string decode(const memory_bank::Chunk& chunk) { return PairTokenizer().decode(chunk.tokens); }

/// Words of random length, some sentences far longer than a chunk, some characters of several bytes.
std::string random_text(Random& random) {
  std::string text;
  for (uint64_t sentence = 1 + random.below(20); sentence > 0; --sentence) {
    const uint64_t words = random.below(5) == 0 ? 200 : 1 + random.below(20);
    text += 'A';
    for (uint64_t word = words; word > 0; --word) {
      text += random.below(8) == 0 ? "\u00e9\u4f60" : std::string(1 + random.below(12), 'x');
      text += ' ';
    }
    text += "end.\n ";
  }
  return text;
}

}  // namespace

TEST_CASE("chunks: a short document is one chunk of title and text", "[memory_bank][chunks]") {
  const auto chunks = chunk_document("Rivers", "The Rhine flows.", PairTokenizer(), {});
  REQUIRE(chunks.size() == 1);
  CHECK(decode(chunks[0]) == "Rivers\nThe Rhine flows.");
  CHECK(chunks[0].begin == 0);
  CHECK(chunks[0].end == 16);
}

TEST_CASE("chunks: without a title only the text part of the format is used",
          "[memory_bank][chunks]") {
  ChunkOptions options;
  options.format = "Passage: {title}. {text}\n";
  CHECK(decode(chunk_document("T", "Body.", PairTokenizer(), options).at(0)) ==
        "Passage: T. Body.\n");
  CHECK(decode(chunk_document("", "Body.", PairTokenizer(), options).at(0)) == "Body.\n");
  options.format = "Passage: {text}\n";
  CHECK(decode(chunk_document("", "Body.", PairTokenizer(), options).at(0)) == "Passage: Body.\n");
}

TEST_CASE("chunks: every chunk keeps to the limit and together they hold the text",
          "[memory_bank][chunks][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  const std::string text = random_text(random);
  ChunkOptions options;
  options.max_tokens = 32 + static_cast<int64_t>(random.below(100));
  const auto chunks = chunk_document("Title", text, PairTokenizer(), options);
  std::size_t at = 0;
  for (const auto& chunk : chunks) {
    CHECK(static_cast<int64_t>(chunk.tokens.size()) <= options.max_tokens);
    CHECK(decode(chunk) == "Title\n" + text.substr(chunk.begin, chunk.end - chunk.begin));
    REQUIRE(chunk.begin >= at);
    REQUIRE(chunk.end > chunk.begin);
    CHECK(text.substr(at, chunk.begin - at).find_first_not_of(" \n") == std::string::npos);
    CHECK_FALSE(find_invalid_utf8(text.substr(chunk.begin, chunk.end - chunk.begin)));
    at = chunk.end;
  }
  CHECK(text.substr(at).find_first_not_of(" \n") == std::string::npos);
}

TEST_CASE("chunks: borders are those of sentences where these fit", "[memory_bank][chunks]") {
  std::string text;
  for (int i = 0; i < 20; ++i) {
    text += fmt::format("This is sentence number {}. ", 100 + i);
  }
  ChunkOptions options;
  options.max_tokens = 60;
  const auto chunks = chunk_document("", text, PairTokenizer(), options);
  CHECK(chunks.size() > 2);
  for (const auto& chunk : chunks) {
    CHECK(text.substr(chunk.begin, 4) == "This");
    CHECK(text[chunk.end - 1] == '.');
  }
}

TEST_CASE("chunks: a chunk that is too small for the title or anything is refused",
          "[memory_bank][chunks]") {
  ChunkOptions options;
  options.max_tokens = 31;
  CHECK_THROWS_AS(chunk_document("", "text", PairTokenizer(), options), InvalidArgument);
  options.max_tokens = 32;
  CHECK_THROWS_AS(chunk_document(std::string(33, '-'), "text", PairTokenizer(), options),
                  InvalidArgument);
  options.format = "{title}";
  CHECK_THROWS_AS(chunk_document("T", "text", PairTokenizer(), options), InvalidArgument);
}

TEST_CASE("key texts: title and each sentence, spread evenly past the limit",
          "[memory_bank][chunks]") {
  CHECK(memory_bank::key_texts("Super_Bowl_50", "It began. It ended.") ==
        std::vector<std::string>{"Super Bowl 50\nIt began.", "Super Bowl 50\nIt ended."});
  CHECK(memory_bank::key_texts("", "") == std::vector<std::string>{""});
  CHECK(memory_bank::key_texts("", "Alone") == std::vector<std::string>{"Alone"});
  std::string text;
  for (int i = 100; i < 200; ++i) {
    text += fmt::format("Number {} is here. ", i);
  }
  const auto keys = memory_bank::key_texts("", text, 10);
  REQUIRE(keys.size() == 10);
  CHECK(keys.front() == "Number 100 is here.");
  CHECK(keys.back() == "Number 190 is here.");
  CHECK(std::set<std::string>(keys.begin(), keys.end()).size() == 10);
  CHECK(memory_bank::key_texts("", text, 0).size() == 100);
}

}  // namespace alluvium::tests
