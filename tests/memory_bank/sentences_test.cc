#include "alluvium/memory_bank/sentences.h"

#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

std::vector<std::string> sentences(const std::string& text) {
  std::vector<std::string> pieces;
  for (const auto& [begin, end] : memory_bank::split_sentences(text)) {
    pieces.push_back(text.substr(begin, end - begin));
  }
  return pieces;
}

using Pieces = std::vector<std::string>;

}  // namespace

TEST_CASE("sentences: they end at marks followed by white space", "[memory_bank][sentences]") {
  CHECK(sentences("One here. Two there! Three? Four") ==
        Pieces{"One here.", "Two there!", "Three?", "Four"});
  CHECK(sentences("Really?! Yes... No.") == Pieces{"Really?!", "Yes...", "No."});
  CHECK(sentences("He said \"Stop.\" She left (at noon.) Then") ==
        Pieces{"He said \"Stop.\"", "She left (at noon.)", "Then"});
  CHECK(sentences("\u201cGo.\u201d They went.") == Pieces{"\u201cGo.\u201d", "They went."});
  CHECK(sentences("\u4f60\u597d\u3002\u518d\u89c1\u3002") ==
        Pieces{"\u4f60\u597d\u3002", "\u518d\u89c1\u3002"});
}

TEST_CASE("sentences: stops inside words, names and numbers do not end them",
          "[memory_bank][sentences]") {
  CHECK(sentences("Version 2.5.1 of foo.bar came.") == Pieces{"Version 2.5.1 of foo.bar came."});
  CHECK(sentences("Dr. Smith met J. R. Tolkien at St. Mary. They talked.") ==
        Pieces{"Dr. Smith met J. R. Tolkien at St. Mary.", "They talked."});
  CHECK(sentences("Fruits, e.g. Apples, vs. Pears.") == Pieces{"Fruits, e.g. Apples, vs. Pears."});
  CHECK(sentences("See No. 3. Chapter one ended in 1999. Then") ==
        Pieces{"See No.", "3. Chapter one ended in 1999.", "Then"});
  CHECK(sentences("It rose by approx. ten. and fell.") ==
        Pieces{"It rose by approx. ten. and fell."});
}

TEST_CASE("sentences: blank lines and bullets end them, plain line breaks do not",
          "[memory_bank][sentences]") {
  CHECK(sentences("A heading\n\nA line\nthat goes on") ==
        Pieces{"A heading", "A line\nthat goes on"});
  CHECK(sentences("Changes:\n  * fix one\n  * fix two\n  - three\n 1. four") ==
        Pieces{"Changes:", "* fix one", "* fix two", "- three", "1. four"});
  CHECK(sentences("a\r\n\r\nb") == Pieces{"a", "b"});
}

TEST_CASE("sentences: empty and blank texts have none", "[memory_bank][sentences]") {
  CHECK(sentences("").empty());
  CHECK(sentences(" \n\t\r\n ").empty());
  CHECK(sentences(".") == Pieces{"."});
}

TEST_CASE("sentences: ranges are ordered and leave out only white space",
          "[memory_bank][sentences][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  const std::string alphabet = "abZ 3.!?\n\"')(-*\t\xe2\x80\x9d";
  std::string text;
  for (uint64_t i = random.below(300); i > 0; --i) {
    text += alphabet[static_cast<std::size_t>(random.below(alphabet.size()))];
  }
  std::size_t at = 0;
  for (const auto& [begin, end] : memory_bank::split_sentences(text)) {
    REQUIRE(begin >= at);
    REQUIRE(end > begin);
    CHECK(text.substr(at, begin - at).find_first_not_of(" \t\r\n\f\v") == std::string::npos);
    at = end;
  }
  CHECK(text.substr(at).find_first_not_of(" \t\r\n\f\v") == std::string::npos);
}

TEST_CASE("sentences: a megabyte of one character takes one pass", "[memory_bank][sentences]") {
  for (const char c : {'.', '\n', ')', 'a', ' '}) {
    const std::string text = std::string(1U << 20, c) + "x";
    CHECK(memory_bank::split_sentences(text).size() <= 2);
  }
}

}  // namespace alluvium::tests
